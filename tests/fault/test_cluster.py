"""Three brokers with three replicas: the leader dies, and every acknowledged job is there."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from fleet.broker.connection import Connection
from fleet.broker.provision import provision
from fleet.broker.stored import messages
from fleet.errors import BrokerRefused, BrokerUnreachable
from tests.asking import eventually
from tests.integration.brokers import connected
from tests.ports import free_port
from tests.server import NatsServer, nats_server

NAMES = ("n1", "n2", "n3")
PUBLISHERS = 8
# An election takes some seconds; a machine that is busy with other things may take longer.
GAP_S = 40.0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[dict[str, NatsServer]]:
    routes = {name: free_port() for name in NAMES}
    urls = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes.values())
    with ExitStack() as servers:
        yield {
            name: servers.enter_context(
                nats_server(
                    tmp_path / name,
                    config=f"server_name: {name}\n"
                    f'cluster {{ name: c, listen: "127.0.0.1:{port}", routes: [{urls}] }}',
                )
            )
            for name, port in routes.items()
        }


async def test_the_leaders_death_loses_no_acknowledged_job(
    cluster: dict[str, NatsServer], say: Callable[[str], None]
) -> None:
    acknowledged: list[tuple[float, str]] = []
    async with connected(",".join(server.url for server in cluster.values())) as connection:
        await replicated(connection)
        leader = await leader_of(connection)
        async with publishing(connection, acknowledged):
            await eventually(lambda: count(acknowledged, 200), "200 receipts")
            cluster[leader].process.kill()
            killed_at = time.monotonic()
            await eventually(
                lambda: count([one for one in acknowledged if one[0] > killed_at + 0.5], 200),
                "200 receipts of the next leader",
                bound_s=GAP_S + 20,
            )
        assert await leader_of(connection) != leader
        jobs = {job for _, job in acknowledged}
        # Any of the three answers, and may be a moment behind the one that acknowledged.
        await eventually(lambda: are_there(connection, jobs), "every acknowledged job")
    gap_s = max(after - before for before, after in pairwise(sorted(at for at, _ in acknowledged)))
    say(f"cluster: {gap_s:.1f} s without a receipt, 0 of {len(acknowledged)} lost")
    assert gap_s < GAP_S


async def are_there(connection: Connection, jobs: set[str]) -> bool:
    stored = messages(connection, "JOBS_BATCH", "jobs.batch.m.t")
    return jobs <= {one.headers["Fleet-Job-Id"] async for one in stored}


async def replicated(connection: Connection) -> None:
    """Set everything up once there is a leader of all, with three replicas of the queue."""

    async def look() -> bool:
        with suppress(BrokerRefused, BrokerUnreachable):
            await provision(connection, ["m"])
            info = await connection.api("STREAM.INFO.JOBS_BATCH")
            config = info["config"] | {"num_replicas": 3}
            await connection.api("STREAM.UPDATE.JOBS_BATCH", config)
            info = await connection.api("STREAM.INFO.JOBS_BATCH")
            replicas = info["cluster"].get("replicas", ())
            return len(replicas) == 2 and all(one["current"] for one in replicas)
        return False

    await eventually(look, "three replicas", bound_s=60)


async def leader_of(connection: Connection) -> str:
    return str((await connection.api("STREAM.INFO.JOBS_BATCH"))["cluster"]["leader"])


async def count(found: list[tuple[float, str]], wanted: int) -> bool:
    return len(found) >= wanted


@asynccontextmanager
async def publishing(
    connection: Connection, acknowledged: list[tuple[float, str]]
) -> AsyncIterator[None]:
    """Publish beside the body; what nobody confirms is published again under its id."""
    numbers = iter(range(1_000_000))

    async def publisher() -> None:
        for number in numbers:
            job = f"job{number}"
            while True:
                try:
                    await connection.append("jobs.batch.m.t", b"{}", headers={"Fleet-Job-Id": job})
                except (BrokerUnreachable, BrokerRefused):
                    await asyncio.sleep(0.1)
                else:
                    acknowledged.append((time.monotonic(), job))
                    break

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(publisher()) for _ in range(PUBLISHERS)]
        yield
        for task in tasks:
            task.cancel()
