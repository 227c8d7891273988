"""`fleet check` and `fleet top` without a screen, as processes."""

import asyncio
import json
import shlex
import signal
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fleet.broker.connection import Connection
from fleet.broker.nodes import Nodes
from fleet.broker.provision import provision
from fleet.cli.check import CONNECT_S
from fleet.node import Node
from tests.asking import MODEL, Asker, chat, eventually
from tests.integration.brokers import connected
from tests.integration.cli import BOUND_S, START, end, fleet, start


@pytest.fixture
async def connection(own_url: str) -> AsyncIterator[Connection]:
    """A fleet of one node that is ready, for as long as the test runs."""
    async with connected(own_url) as connection:
        await provision(connection, [MODEL])
        node = Node(
            node="one", pid=1, host="h", capacity_type="on-demand", zone="a", model=MODEL,
            engine="e", state="ready", started_at=time.time() - 60, at=time.time(), slots=4,
        )  # fmt: skip
        await Nodes(connection).beat(node, ttl_s=120)
        yield connection
        await Nodes(connection).forget("one")


async def test_all_is_well_ends_with_zero(connection: Connection, own_url: str) -> None:
    ran = await fleet(own_url, "check")
    assert ran.code == 0, ran
    assert ran.out.startswith("ok: 1 of 1 nodes ready")


async def test_a_node_under_notice_is_a_warning_in_nagios_words(
    connection: Connection, own_url: str
) -> None:
    node = Node(
        node="two", pid=1, host="h", capacity_type="spot", zone="a", model=MODEL, engine="e",
        state="draining", started_at=time.time(), at=time.time(), notice="aws",
        leaves_at=time.time() + 90,
    )  # fmt: skip
    await Nodes(connection).beat(node, ttl_s=60)
    ran = await fleet(own_url, "check", "--format", "nagios")
    await Nodes(connection).forget("two")
    assert ran.code == 1, ran
    assert ran.out.startswith("OVERBOOK WARNING - leaving: two (aws, ")


async def test_jobs_without_a_durable_are_critical(connection: Connection, own_url: str) -> None:
    await Asker(connection, "acme", model="nobody").publish("batch", chat("x"))
    ran = await fleet(own_url, "check", "--format", "json")
    await connection.api("STREAM.PURGE.JOBS_BATCH", {})
    assert ran.code == 2, ran
    told = json.loads(ran.out)
    assert told["level"] == "critical"
    assert [one["name"] for one in told["findings"] if one["level"] == "critical"] == [
        "queues_missing"
    ]


async def test_a_broker_that_is_gone_is_unknown_in_time_for_monitoring() -> None:
    # Monitoring gives up after ten seconds: half of them for us, and half to start Python in.
    assert CONNECT_S <= 5
    ran = await fleet("nats://127.0.0.1:1", "check", "--format", "prometheus")
    assert ran.code == 3, ran
    assert 'fleet_check_level{check="data"} 3' in ran.out


async def test_a_slip_of_the_pen_is_unknown_and_not_critical(own_url: str) -> None:
    ran = await fleet(own_url, "check", "--set", "oldest=3")
    assert ran.code == 3
    assert "there is no limit 'oldest=3'" in ran.err


async def test_once_writes_tables_or_one_object(connection: Connection, own_url: str) -> None:
    tables = await fleet(own_url, "top", "--once")
    assert tables.code == 0, tables
    assert "1 of 1 nodes ready" in tables.out
    single = await fleet(own_url, "top", "--once", "--json")
    assert json.loads(single.out)["fleet"]["ready"] == 1


async def test_what_was_recorded_is_replayed_without_a_broker(
    connection: Connection, own_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "r.jsonl.gz"
    process = await start(own_url, "top", "--record", str(path))
    assert process.stderr is not None
    async with asyncio.timeout(BOUND_S):
        await process.stderr.readuntil(b"Ctrl-C ends it")

    async def is_written() -> bool:
        written = path.read_bytes() if path.exists() else b""
        return b'"one"' in zlib.decompressobj(wbits=31).decompress(written)

    await eventually(is_written, "a snapshot with the node in the file", bound_s=BOUND_S)
    process.send_signal(signal.SIGINT)
    ran = await end(process)
    assert ran.code == 130, ran
    played = await fleet(
        "nats://127.0.0.1:1", "top", "--replay", str(path), "--json", "--speed", "50"
    )
    lines = [json.loads(line) for line in played.out.splitlines()]
    assert played.code == 0, played
    assert lines[-1]["nodes"][0]["node"] == "one"


async def test_a_pipe_that_is_closed_leaves_no_traceback(
    connection: Connection, own_url: str
) -> None:
    shell = f"{shlex.join(START)} top --json --nats {own_url} | head -c 10; echo ${{PIPESTATUS[0]}}"
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        shell,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    ran = await end(process)
    assert (ran.out[10:], ran.err) == ("1\n", "")
