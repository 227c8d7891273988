"""`fleet pool run --provider ec2`, against a server that plays EC2."""

import signal
from pathlib import Path
from typing import Any

import pytest

from fleet.batches import Batches
from fleet.broker.connection import Connection
from fleet.broker.provision import provision
from fleet.broker.queued import queued, remove
from fleet.events import PoolActed
from fleet.pool.switches import Switches
from tests.asking import event_of, eventually
from tests.batching import submit_batch
from tests.integration.brokers import connected
from tests.managers import running
from tests.moto import LOGIN, REGION, TEMPLATE, Moto, ec2_client
from tests.server import nats_server

BOUND_S = 60.0
# One that has a price in the package's example book.
TYPE = "g6e.xlarge"


def pool_file(folder: Path, moto: Moto, pool: str) -> Path:
    path = folder / "pool.toml"
    subnets = "".join(f'"{zone}" = "{subnet}"\n' for zone, subnet in moto.subnets.items())
    path.write_text(
        f'pool = "{pool}"\ntemplate = "{TEMPLATE}"\nregion = "{REGION}"\n'
        f'endpoint = "{moto.endpoint}"\ninstance_types = ["{TYPE}"]\n[subnets]\n{subnets}'
    )
    return path


def alive(moto: Moto, pool: str) -> list[dict[str, Any]]:
    filters = [
        {"Name": "tag:overbook:pool", "Values": [pool]},
        {"Name": "instance-state-name", "Values": ["pending", "running"]},
    ]
    found = ec2_client(moto.endpoint).describe_instances(Filters=filters)["Reservations"]
    return [one for part in found for one in part["Instances"]]


async def test_a_killed_manager_s_machines_are_found_counted_and_given_back(
    moto: Moto, tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in LOGIN.items():
        monkeypatch.setenv(name.upper(), value)
    file = pool_file(tmp_path, moto, unique)
    words = ("pool", "run", "--model", unique, "--provider", "ec2", "--config", str(file),
             "--json", "--lease", "3")  # fmt: skip
    with nats_server(tmp_path) as server:
        async with connected(server.url) as connection, running(server.url, words) as managers:
            await provision(connection, [unique])
            first = await managers.add()
            await submit_batch(connection, tenant=unique, model=unique, items=4, window_s=90_000.0)

            async def launched() -> list[dict[str, Any]]:
                return alive(moto, unique)

            [machine] = await eventually(launched, "a machine", bound_s=BOUND_S)
            tags = {one["Key"]: one["Value"] for one in machine["Tags"]}
            assert tags["overbook:pool"] == unique
            first.send_signal(signal.SIGKILL)
            before = await leading(connection, unique)
            await managers.add()

            async def another_leads() -> bool:
                return await leading(connection, unique) != before

            await eventually(another_leads, "the next manager", bound_s=BOUND_S)
            assert [one["InstanceId"] for one in alive(moto, unique)] == [machine["InstanceId"]]
            await Batches(connection, tenant=unique).cancel("b")
            async for one in queued(connection, "JOBS_BATCH", f"jobs.batch.{unique}.{unique}"):
                await remove(connection, one)

            async def given_back() -> bool:
                return not alive(moto, unique)

            await eventually(given_back, "the machine to be given back", bound_s=BOUND_S)
            # Told once the cloud has answered: it may be gone before that.
            ended = await event_of(connection, PoolActed, action="ended")
            assert ended.machines == (machine["InstanceId"],)
            standing = await Switches(connection, unique).standing()
            assert standing is not None
            assert standing.troubles == ()


async def leading(connection: Connection, model: str) -> str | None:
    standing = await Switches(connection, model).standing()
    return standing.by if standing else None
