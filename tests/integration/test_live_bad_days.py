"""The screen's source where the broker goes, comes back, is another one, or is not there."""

import time
from contextlib import aclosing
from pathlib import Path

import pytest

from dashboard.findings import findings
from dashboard.snapshot import FleetSnapshot
from fleet.broker.connection import Connection
from fleet.broker.eventlog import EventLog
from fleet.broker.nodes import Nodes
from fleet.broker.provision import provision
from fleet.errors import BrokerUnreachable, NotFound
from fleet.events import NodeGone
from tests.asking import Asker, chat
from tests.integration.brokers import connected
from tests.integration.watching import has, live, node, nowhere, seen
from tests.server import nats_server


async def test_watching_goes_on_when_the_broker_is_back(tmp_path: Path, unique: str) -> None:
    with nats_server(tmp_path / "nats") as server:
        async with connected(server.url) as connection:
            await provision(connection, [unique])
            await Nodes(connection).beat(node("one", unique), ttl_s=60)
        source = live(server.url)
        async with aclosing(source.snapshots()) as snapshots:
            await seen(snapshots, lambda s: has(s, "one"))
            server.process.kill()
            server.process.wait()
            shown = await seen(snapshots, lambda s: not s.connected)
            assert has(shown, "one"), "what was known is still shown"
            with nats_server(tmp_path / "nats", port=server.port):
                async with connected(server.url) as connection:
                    await Nodes(connection).beat(node("two", unique), ttl_s=60)
                shown = await seen(snapshots, lambda s: has(s, "two"))
                assert shown.connected


async def test_a_broker_that_begins_anew_is_seen_as_it_is_now(tmp_path: Path, unique: str) -> None:
    with nats_server(tmp_path / "old") as server:
        async with connected(server.url) as connection:
            await _begin(connection, unique, "old")
        source = live(server.url)
        async with aclosing(source.snapshots()) as snapshots:
            await seen(snapshots, lambda s: _is_there(s, "old"))
            server.process.kill()
            server.process.wait()
            with nats_server(tmp_path / "new", port=server.port):
                async with connected(server.url) as connection:
                    await _begin(connection, unique, "new")
                await seen(snapshots, lambda s: _is_there(s, "new"))


async def test_a_broker_without_a_fleet_says_what_to_do(tmp_path: Path) -> None:
    with nats_server(tmp_path / "nats") as server:
        async with aclosing(live(server.url).snapshots()) as snapshots:
            shown = await seen(snapshots, lambda s: "queues" in s.troubles)
            assert "fleet init" in shown.troubles["queues"]
            assert "queues" not in shown.read_at
            assert next(f for f in findings(shown) if f.name == "data").level == "unknown"


async def test_a_broker_that_is_not_there_is_said_at_once() -> None:
    with pytest.raises(BrokerUnreachable):
        async with aclosing(live("nats://127.0.0.1:1").snapshots()) as snapshots:
            await anext(snapshots)


async def test_a_story_of_nothing_is_not_found(provisioned: Connection, nats_url: str) -> None:
    source = live(nats_url, why=nowhere)
    async with aclosing(source.snapshots()) as snapshots:
        await anext(snapshots)
        with pytest.raises(NotFound, match="no trace"):
            await source.story("nobody", "nothing", None)


async def _begin(connection: Connection, model: str, name: str) -> None:
    """Give a new broker one node, one job and one event."""
    await provision(connection, [model])
    await Nodes(connection).beat(node(name, model), ttl_s=60)
    headers = {"Fleet-Job-Id": name}
    await Asker(connection, "acme", model=model).publish("batch", chat("x"), headers=headers)
    async with EventLog(connection) as log:
        log.emit(NodeGone(at=time.time(), node=name, cause="c"))


def _is_there(snapshot: FleetSnapshot, name: str) -> bool:
    """Tell whether this name is all that there is, and is everywhere."""
    return (
        [one.job for one in snapshot.jobs] == [name]
        and [one.node.node for one in snapshot.nodes if one.lost_at is None] == [name]
        and bool(snapshot.events)
        and snapshot.events[-1].event.node == name
    )
