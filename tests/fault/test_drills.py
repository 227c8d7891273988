"""`fleet drill`, `drain` and `resume` as an operator has them, at a fleet that works."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet.broker import control
from fleet.broker.connection import Connection
from fleet.broker.nodes import Nodes
from fleet.broker.permit import Mark, alone, is_allowed
from fleet.broker.provision import provision
from fleet.cancel import cancel
from fleet.control import DrainOrder, HurtOrder
from fleet.errors import BrokerRefused
from fleet.events import OperatorActed
from fleet.evidence import verify
from tests.asking import MODEL, Asker, chat, events_of, eventually
from tests.fleets import QUICK, RunningFleet, running_consumer, running_fleet
from tests.integration import cli
from tests.integration.brokers import connected
from tests.server import nats_server

ALL_READY_S = 60.0
# At sixty tokens a second an item takes six seconds: none ends before the blow.
LATE_S = 30.0
PROBES = ("--items", "2", "--tokens", "360", "--yes", "--json")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFleet]:
    flags = ("--on-demand", "1", "--spot", "3", "--zones", "a,b,c,b", "--token-rate", "60")
    folder = tmp_path_factory.mktemp("fleet")
    env = {**QUICK, "FLEET_PRICE_USD_PER_HOUR": "1.8"}
    with running_fleet(folder, *flags, "--allow-drills", env=env) as running:
        yield running


@pytest.fixture
async def connection(fleet: RunningFleet) -> AsyncIterator[Connection]:
    async with connected(fleet.nats) as connection:
        await ready(connection, 4)
        yield connection


@pytest.mark.parametrize("words", ["aws", "gcp --left 3.5", "kill", "freeze", "server", "zone c"])
async def test_a_drill_passes_and_the_fleet_is_whole_again(
    fleet: RunningFleet, connection: Connection, words: str
) -> None:
    kind = words.split(maxsplit=1)[0]
    ran = await cli.fleet(fleet.nats, "drill", *words.split(), *PROBES)
    report = json.loads(ran.out)
    check_report(report, code=ran.code)
    assert (report["lost"], report["doubled"]) == (0, 0)
    assert bool(report["nodes"]) == (kind != "server")
    # What fits into two minutes is finished there; all else goes on elsewhere.
    assert (report["went_on_s"] is None) == (kind == "aws")
    assert report["cost_usd"] is not None
    assert report["tokens_again"] == 0 or kind in {"kill", "freeze", "zone"}
    await ready(connection, 4)
    proof = await verify(connection, tenant="drill")
    assert proof.verdict == "proven"


async def test_people_are_told_in_words_what_came_of_it(
    fleet: RunningFleet, connection: Connection
) -> None:
    ran = await cli.fleet(fleet.nats, "drill", "azure", *PROBES[:-1])
    assert ("PASS" if ran.code == 0 else "FAIL") in ran.out, ran.err
    assert "items lost: 0 (at most 0) ok" in ran.out
    assert "is called back, and ready" in ran.err
    [begun, done] = await events_of(connection, OperatorActed, deed="drill azure")
    assert (begun.outcome, done.outcome) == ("begun", "done")
    assert done.result.startswith(f"azure of {done.node}: PASS; ")


async def test_nobody_is_hit_unasked_or_against_the_rails(
    fleet: RunningFleet, connection: Connection
) -> None:
    gone = fleet.gone()
    unasked = await cli.fleet(fleet.nats, "drill", "kill")
    assert unasked.code == 2
    assert "kill hits spot-" in unasked.err
    (name,) = fleet.of("on-demand")
    on_demand = await cli.fleet(fleet.nats, "drill", "kill", name, *PROBES)
    assert on_demand.code == 2
    assert "--on-demand says that it may" in on_demand.err
    assert fleet.gone() == gone
    assert await events_of(connection, OperatorActed, node=name) == []


async def test_two_drills_do_not_run_at_once(fleet: RunningFleet, connection: Connection) -> None:
    async with alone(connection, Mark(by="somebody else", token="t"), for_s=30):
        ran = await cli.fleet(fleet.nats, "drill", "kill", *PROBES)
    assert ran.code == 2
    assert "another drill runs, of somebody else" in ran.err


async def test_a_fleet_that_is_not_marked_is_left_alone(tmp_path: Path) -> None:
    with nats_server(tmp_path) as server:
        async with connected(server.url) as connection:
            await provision(connection, [MODEL])
            with (
                running_consumer(tmp_path / "one", server.url, "spot", "--node", "one") as one,
                running_consumer(tmp_path / "two", server.url, "spot", "--node", "two") as two,
            ):
                await ready(connection, 2)
                for words in ("kill", "aws one", "server"):
                    ran = await cli.fleet(server.url, "drill", *words.split(), *PROBES)
                    assert ran.code == 2
                    assert "not marked" in ran.err
                # A node does not take it from anybody else either.
                for order in (HurtOrder(how="kill"), DrainOrder(source="drill")):
                    with pytest.raises(BrokerRefused, match="not marked"):
                        await control.ask(connection, "one", order)
                assert (one.poll(), two.poll()) == (None, None)
                for words in ("allow --for 60", "forbid"):
                    ran = await cli.fleet(server.url, "drill", *words.split())
                    assert ran.code == 0, ran.err
                    assert await is_allowed(connection) == words.startswith("allow")


async def test_a_broker_of_ones_own_is_restarted_by_ones_own_command(tmp_path: Path) -> None:
    with nats_server(tmp_path) as server:
        async with connected(server.url) as connection:
            await provision(connection, [MODEL])
            flags = ("--token-rate", "60")
            with running_consumer(tmp_path / "one", server.url, "spot", *flags):
                await ready(connection, 1)
                assert (await cli.fleet(server.url, "drill", "allow")).code == 0
                ran = await cli.fleet(server.url, "drill", "server", *PROBES)
                assert ran.code == 2
                assert "--with" in ran.err
                broken = await cli.fleet(server.url, "drill", "server", "--with", "false", *PROBES)
                assert broken.code == 2
                assert "exit code 1" in broken.err
                reload = f"kill -HUP {server.process.pid}"
                ran = await cli.fleet(server.url, "drill", "server", "--with", reload, *PROBES)
                check_report(json.loads(ran.out), code=ran.code)


async def test_a_node_is_drained_and_called_back_by_hand(
    fleet: RunningFleet, connection: Connection, unique: str
) -> None:
    names = await spots(connection)
    drained = await cli.fleet(fleet.nats, "drain", names[0], "--left", "60", "--json")
    assert drained.code == 0, drained.err
    assert json.loads(drained.out)["changed"]
    # It holds nothing, so it is gone before anybody could call it back.
    await eventually(lambda: is_gone(connection, names[0]), "its end")
    asker = Asker(connection, unique)
    await asker.publish("batch", chat("long", 6000), headers={"Fleet-Job-Id": "j"})
    busy = await eventually(lambda: busy_of(connection), "a node with work")
    ran = await cli.fleet(fleet.nats, "drain", busy, "--left", "60")
    assert ran.code == 0
    assert "drains: 1 items of 1 jobs in hand, to be gone in" in ran.out
    again = await cli.fleet(fleet.nats, "drain", busy, "--left", "60")
    assert "drains already" in again.out
    ran = await cli.fleet(fleet.nats, "resume", busy)
    assert ran.out == f"{busy} takes jobs again\n"
    ran = await cli.fleet(fleet.nats, "resume", busy)
    assert ran.out == f"{busy} was not told to go, nothing changed\n"
    told = await events_of(connection, OperatorActed, node=busy, outcome="done")
    assert [one.deed for one in told] == ["drain", "drain", "call back", "call back"]
    await cancel(connection, tenant=unique, job="j")
    (line,) = await asker.lines("j")
    assert line.error is not None
    assert (line.fleet.node, line.fleet.interruptions) == (busy, 0)
    for command in ("drain", "resume"):
        ran = await cli.fleet(fleet.nats, command, "nobody")
        assert (ran.code, ran.out) == (4, "")
        assert "`fleet nodes`" in ran.err


def check_report(report: dict[str, Any], *, code: int) -> None:
    """Check that all was kept; a machine that is busy may be late with it, which is a failure."""
    late = [one for one in report["checks"] if not one["passed"]]
    assert (code, report["passed"]) == ((1, False) if late else (0, True)), report
    for one in late:
        assert one["name"].startswith("seconds "), report
        assert one["value"] is not None, report
        assert one["value"] < LATE_S, report


async def ready(connection: Connection, count: int) -> list[str]:
    """Wait until so many nodes are ready and idle."""

    async def look() -> list[str]:
        nodes = await Nodes(connection).list()
        names = [n.node for n in nodes if n.state == "ready" and not n.items]
        return names if len(names) >= count else []

    return await eventually(look, f"{count} nodes", bound_s=ALL_READY_S)


async def spots(connection: Connection) -> list[str]:
    return [n.node for n in await Nodes(connection).list() if n.capacity_type == "spot"]


async def is_gone(connection: Connection, name: str) -> bool:
    return name not in await spots(connection)


async def busy_of(connection: Connection) -> str | None:
    return next((n.node for n in await Nodes(connection).list() if n.items), None)
