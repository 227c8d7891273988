"""The broker dies and comes back, and so does what holds the fleet together."""

import signal
from contextlib import ExitStack
from pathlib import Path

import msgspec

from tests.asking import Asker, answer_to, chat, chunk, text_of
from tests.fleets import running_fleet
from tests.integration.brokers import connected
from tests.server import nats_server

ITEMS = 4
TOKENS = 60


async def test_a_broker_that_is_killed_and_restarted_costs_no_job_and_doubles_none(
    tmp_path: Path, unique: str
) -> None:
    jobs = [f"job{n}" for n in range(10)]
    body = msgspec.json.encode(chunk([chat(f"item {n}", TOKENS) for n in range(ITEMS)]))
    store = tmp_path / "nats"
    with ExitStack() as servers:
        server = servers.enter_context(nats_server(store))
        flags = ("--nats", server.url, "--on-demand", "0", "--token-rate", "30", "--slots", "8")
        with running_fleet(tmp_path / "fleet", *flags) as fleet:
            async with connected(server.url) as connection:
                for job in jobs:
                    headers = {"Fleet-Job-Id": job}
                    await Asker(connection, unique).publish("batch", body, headers=headers)
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
                    expected = [answer_to(f"item {n}", TOKENS) for n in range(ITEMS)]
                    assert list(map(text_of, lines)) == expected
            assert fleet.gone() == [], fleet.log()


def test_nothing_outlives_a_fleet_that_is_killed(tmp_path: Path) -> None:
    with running_fleet(tmp_path, stops=False) as fleet:
        fleet.process.kill()
        fleet.process.wait()


def test_a_fleet_that_replaces_a_consumer_can_be_stopped_meanwhile(tmp_path: Path) -> None:
    with running_fleet(tmp_path, "--spot", "3", "--on-demand", "0", "--replace") as fleet:
        for name in fleet.of("spot"):
            fleet.send(name, signal.SIGKILL)


def test_two_fleets_at_one_broker_have_nodes_of_different_names(tmp_path: Path) -> None:
    with (
        running_fleet(tmp_path / "one", "--spot", "1") as one,
        running_fleet(tmp_path / "two", "--spot", "1", "--nats", one.nats) as two,
    ):
        assert not set(one.nodes) & set(two.nodes)
