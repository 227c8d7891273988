"""The broker dies and comes back, and so does what holds the fleet together."""

import os
import signal
from contextlib import ExitStack
from pathlib import Path

import msgspec

from fleet.broker.nodes import Nodes
from tests.asking import Asker, answer_to, chat, chunk, eventually, text_of
from tests.fleets import RunningFleet, running_fleet
from tests.integration.brokers import connected
from tests.server import nats_server

ITEMS = 4
TOKENS = 60
BODY = msgspec.json.encode(chunk([chat(f"item {n}", TOKENS) for n in range(ITEMS)]))
EXPECTED = [answer_to(f"item {n}", TOKENS) for n in range(ITEMS)]
ONE_SPOT = ("--on-demand", "0", "--spot", "1")


async def test_a_broker_that_is_killed_and_restarted_costs_no_job_and_doubles_none(
    tmp_path: Path, unique: str
) -> None:
    jobs = [f"job{n}" for n in range(10)]
    store = tmp_path / "nats"
    with ExitStack() as servers:
        server = servers.enter_context(nats_server(store))
        flags = ("--nats", server.url, "--on-demand", "0", "--token-rate", "30", "--slots", "8")
        with running_fleet(tmp_path / "fleet", *flags) as fleet:
            async with connected(server.url) as connection:
                for job in jobs:
                    headers = {"Fleet-Job-Id": job}
                    await Asker(connection, unique).publish("batch", BODY, headers=headers)
                await Asker(connection, unique).some_lines(jobs[0])
            for _ in range(2):
                server.process.kill()
                server.process.wait()
                server = servers.enter_context(nats_server(store, port=server.port))
                async with connected(server.url) as connection:
                    await Asker(connection, unique).some_lines(jobs[0])
            async with connected(server.url) as connection:
                for job in jobs:
                    lines = await Asker(connection, unique).lines(job, bound_s=60)
                    assert list(map(text_of, lines)) == EXPECTED
            assert fleet.gone() == [], fleet.log()


def test_nothing_outlives_a_fleet_that_is_killed(tmp_path: Path) -> None:
    with running_fleet(tmp_path, stops=False) as fleet:
        fleet.process.kill()
        fleet.process.wait()


def test_a_fleet_that_replaces_a_consumer_can_be_stopped_meanwhile(tmp_path: Path) -> None:
    with running_fleet(tmp_path, "--spot", "3", "--on-demand", "0", "--replace") as fleet:
        for name in fleet.of("spot"):
            fleet.send(name, signal.SIGKILL)


async def test_a_consumer_that_was_killed_is_replaced_and_its_job_goes_on(
    tmp_path: Path, unique: str
) -> None:
    # Slow enough for nothing of it to be done when its consumer is killed.
    with running_fleet(tmp_path, *ONE_SPOT, "--token-rate", "12") as fleet:
        (name,) = fleet.nodes
        async with connected(fleet.nats) as connection:
            asker = Asker(connection, unique)
            await asker.publish("batch", BODY, headers={"Fleet-Job-Id": "job"})
            await busy(asker, name)
            fleet.send(name, signal.SIGKILL)
            ended = fleet.next_event("ended", node=name)
            assert ended["code"] == -signal.SIGKILL
            replaced = fleet.next_event("replaced", node=name)
            lines = await asker.lines("job", bound_s=60)
            assert list(map(text_of, lines)) == EXPECTED
            assert {line.fleet.node for line in lines} == {replaced["replacement"]["node"]}


def test_a_consumer_that_was_drained_or_is_not_to_come_back_stays_away(tmp_path: Path) -> None:
    with running_fleet(tmp_path / "one", *ONE_SPOT) as fleet:
        (name,) = fleet.nodes
        fleet.send(name, signal.SIGTERM)
        ended = fleet.next_event("ended", node=name)
        assert (ended["code"], ended["replaced_in_s"]) == (0, None)
    with running_fleet(tmp_path / "two", *ONE_SPOT, "--no-restart") as fleet:
        (name,) = fleet.nodes
        fleet.send(name, signal.SIGKILL)
        ended = fleet.next_event("ended", node=name)
        assert (ended["code"], ended["replaced_in_s"]) == (-signal.SIGKILL, None)


async def test_a_fleet_whose_own_broker_is_killed_heals_without_a_hand(
    tmp_path: Path, unique: str
) -> None:
    with running_fleet(tmp_path, *ONE_SPOT, "--token-rate", "30") as fleet:
        async with connected(fleet.nats) as connection:
            asker = Asker(connection, unique)
            await asker.publish("batch", BODY, headers={"Fleet-Job-Id": "job"})
            await busy(asker, *fleet.nodes)
            broker = broker_of(fleet)
            assert broker
        os.kill(broker, signal.SIGKILL)
        await eventually(lambda: is_another(fleet, broker), "another broker")
        async with connected(fleet.nats) as connection:
            lines = await Asker(connection, unique).lines("job", bound_s=60)
        assert list(map(text_of, lines)) == EXPECTED
        assert fleet.gone() == [], fleet.log()


async def busy(asker: Asker, *names: str) -> None:
    """Wait until one of these nodes has generated something."""

    async def look() -> bool:
        nodes = await Nodes(asker.connection).list()
        return any(node.tokens_generated for node in nodes if node.node in names)

    await eventually(look, "tokens")


def broker_of(fleet: RunningFleet) -> int | None:
    """Find the process of a fleet's own broker."""
    found = Path(f"/proc/{fleet.process.pid}/task").glob("*/children")
    children = [int(pid) for file in found for pid in file.read_text().split()]
    return next((pid for pid in children if "nats-server" in name_of(pid)), None)


def name_of(pid: int) -> str:
    """Read the name of a process; none where it has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


async def is_another(fleet: RunningFleet, broker: int) -> bool:
    return broker_of(fleet) not in {None, broker}


def test_two_fleets_at_one_broker_have_nodes_of_different_names(tmp_path: Path) -> None:
    with (
        running_fleet(tmp_path / "one", "--spot", "1") as one,
        running_fleet(tmp_path / "two", "--spot", "1", "--nats", one.nats) as two,
    ):
        assert not set(one.nodes) & set(two.nodes)
