"""What tests of the sweep share: queues with short leases, and sweeping until something happens."""

import time

import pytest

from fleet.broker.connection import Connection
from fleet.broker.queue import Puller
from fleet.broker.queued import Queued, queued_at
from fleet.errors import BrokerUnreachable
from fleet.sweep import Sweeper, Swept
from tests.asking import Asker, eventually


async def publish(asker: Asker, tier: str, body: object, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return (await asker.publish(tier, body, headers=named, model=asker.tenant)).sequence


async def until(sweeper: Sweeper, code: str, *, bound_s: float = 30.0) -> Swept:
    """Sweep until something with this code was done."""

    async def look() -> Swept | None:
        return next((one for one in await sweeper.sweep() if one.code == code), None)

    return await eventually(look, code, bound_s=bound_s)


async def stored(connection: Connection, tier: str, unique: str) -> int:
    """Count what is queued for this test's model."""
    filters = {"subjects_filter": f"jobs.{tier}.{unique}.*"}
    info = await connection.api(f"STREAM.INFO.JOBS_{tier.upper()}", filters)
    return sum((info["state"].get("subjects") or {}).values())


def puller(connection: Connection, tier: str, model: str) -> Puller:
    return Puller(connection, stream=f"JOBS_{tier.upper()}", durable=f"{tier}_{model}")


async def sweep_for(sweeper: Sweeper, seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        await sweeper.sweep()


async def edit_durable(connection: Connection, tier: str, model: str, **changes: object) -> None:
    stream, name = f"JOBS_{tier.upper()}", f"{tier}_{model}"
    config = (await connection.api(f"CONSUMER.INFO.{stream}.{name}"))["config"] | changes
    await connection.api(
        f"CONSUMER.CREATE.{stream}.{name}.{config['filter_subject']}",
        {"stream_name": stream, "action": "update", "config": config},
    )


def leave_one_unanswered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first look of a sweep at a job get no answer."""
    unanswered = True

    async def look(connection: Connection, stream: str, sequence: int) -> Queued | None:
        nonlocal unanswered
        if unanswered:
            unanswered = False
            raise BrokerUnreachable("no answer: try again")
        return await queued_at(connection, stream, sequence)

    monkeypatch.setattr("fleet.sweep.queued_at", look)
