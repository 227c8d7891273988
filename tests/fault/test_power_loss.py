"""The shipped server configuration and a power cut: what was acknowledged is there."""

import asyncio
import json
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from fleet.broker.connection import Connection
from fleet.broker.provision import provision
from fleet.broker.stored import messages
from fleet.errors import BrokerUnreachable
from tests.fault.disks import disk, missing, what_a_power_cut_leaves
from tests.fleets import ROOT
from tests.integration.brokers import connected
from tests.server import binary

CONFIG = ROOT / "deploy" / "nats" / "nats-server.conf"
PUBLISHERS = 16
START_S = 20.0
WORK_S = 2.0


@pytest.fixture
def power() -> None:
    if why := missing():
        pytest.skip(why)


@contextmanager
def shipped_server(folder: Path, store: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run the server as deploy/ says, but for its addresses and where its store lies."""
    text = CONFIG.read_text()
    for setting, value in {
        "listen": '"127.0.0.1:-1"',
        "http": '"127.0.0.1:-1"',
        "store_dir": f'"{store}"',
        # Less than the test's disk has, as the comment beside it asks for.
        "max_file_store": "8GB",
    }.items():
        text, count = re.subn(rf"(?m)^(\s*{setting}:) *\S+", rf"\1 {value}", text)
        assert count == 1, setting
    folder.mkdir()
    file = folder / "nats.conf"
    file.write_text(f'{text}\nports_file_dir: "{folder}"\nlog_file: "{folder}/nats.log"\n')
    process = subprocess.Popen([binary(), "--config", str(file)])
    ports = folder / f"nats-server_{process.pid}.ports"
    give_up = time.monotonic() + START_S
    try:
        while not (ports.exists() and ports.read_text().rstrip().endswith("}")):
            assert time.monotonic() < give_up, (folder / "nats.log").read_text()
            time.sleep(0.05)
        yield str(json.loads(ports.read_text())["nats"][0]), process
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def publishing(connection: Connection, acknowledged: list[int]) -> AsyncIterator[None]:
    """Publish jobs beside the body; `acknowledged` has the numbers of those that were confirmed."""
    numbers = iter(range(1_000_000))

    async def publisher() -> None:
        for number in numbers:
            headers = {"Fleet-Job-Id": f"job{number}"}
            try:
                await connection.append("jobs.batch.m.t", b"x" * 1000, headers=headers)
            except BrokerUnreachable:
                return
            acknowledged.append(number)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(publisher()) for _ in range(PUBLISHERS)]
        yield
        for task in tasks:
            task.cancel()


async def test_a_power_cut_loses_no_acknowledged_job(power: None, tmp_path: Path) -> None:
    acknowledged: list[int] = []
    before, after = tmp_path / "before.img", tmp_path / "after.img"
    with (
        disk(before, tmp_path / "disk", new=True),
        shipped_server(tmp_path / "one", tmp_path / "disk" / "nats") as (url, process),
    ):
        async with connected(url) as connection:
            await provision(connection, ["m"])
            async with publishing(connection, acknowledged):
                await asyncio.sleep(WORK_S)
                # The moment of the cut: the server does nothing more, and its answers are counted
                # only if they had arrived.
                process.send_signal(signal.SIGSTOP)
                confirmed = tuple(acknowledged)
                await asyncio.to_thread(what_a_power_cut_leaves, before, after)
                process.send_signal(signal.SIGKILL)
    assert confirmed, "nothing was acknowledged in time"
    with (
        disk(after, tmp_path / "again", new=False),
        shipped_server(tmp_path / "two", tmp_path / "again" / "nats") as (url, _),
    ):
        async with connected(url) as connection:
            found = {
                int(stored.headers["Fleet-Job-Id"].removeprefix("job"))
                async for stored in messages(connection, "JOBS_BATCH", "jobs.batch.m.t")
            }
    lost = set(confirmed) - found
    assert not lost, f"{len(lost)} of {len(confirmed)} acknowledged jobs are lost"
