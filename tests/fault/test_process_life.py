"""The states of a consumer: told to go, called back, hinted at, for a while without an engine."""

import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fleet.broker import control
from fleet.broker.nodes import Nodes
from fleet.control import DrainOrder, ResumeOrder
from fleet.events import (
    EngineLost,
    NodeDraining,
    NodeHinted,
    NodeReady,
    NodeResumed,
    NodeStopped,
)
from fleet.job import ResultLine
from fleet.node import Node
from tests.asking import Asker, answer_to, chat, chunk, event_of, events_of, eventually, text_of
from tests.fleets import (
    QUICK,
    READY_S,
    STOP_S,
    RunningFleet,
    running_consumer,
    running_fleet,
)
from tests.integration.brokers import connected
from tests.metadata.stub import REBALANCE, serving
from tests.ports import free_port

ONE_SPOT = ("--on-demand", "0", "--spot", "1")
PROMPTS = ["one", "two", "three"]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[RunningFleet]:
    flags = ("--token-rate", "20", "--allow-drills")
    with running_fleet(tmp_path, *ONE_SPOT, *flags) as running:
        yield running


@pytest.fixture
async def asker(fleet: RunningFleet, unique: str) -> AsyncIterator[Asker]:
    async with connected(fleet.nats) as connection:
        yield Asker(connection, unique)


async def test_a_node_that_is_called_back_in_time_works_on(
    fleet: RunningFleet, asker: Asker
) -> None:
    (name,) = fleet.nodes
    await publish(asker, "interrupted")
    await beat_of(asker, name, jobs=1)
    heard = await control.ask(asker.connection, name, DrainOrder(left_s=300, source="drill"))
    assert heard.changed
    node = await beat_of(asker, name, state="drained")
    assert (node.notice, node.jobs) == ("drill", 0)
    assert node.leaves_at is not None
    assert 200 < node.leaves_at - time.time() <= 300
    await publish(asker, "waiting")
    again = await control.ask(asker.connection, name, DrainOrder(left_s=600, source="drill"))
    assert not again.changed  # the earlier end counts
    resumed = await control.ask(asker.connection, name, ResumeOrder(source="drill"))
    assert (resumed.changed, resumed.state) == (True, "ready")
    for job in ("interrupted", "waiting"):
        check(await asker.lines(job))
    node = await beat_of(asker, name, state="ready")
    assert (node.notice, node.leaves_at, node.pid) == ("", None, fleet.nodes[name])
    assert (await event_of(asker.connection, NodeDraining, node=name)).cause == "drill"
    assert (await event_of(asker.connection, NodeResumed, node=name)).source == "drill"


async def test_a_node_that_is_not_called_back_ends_just_before_its_time(
    fleet: RunningFleet, asker: Asker
) -> None:
    (name,) = fleet.nodes
    await control.ask(asker.connection, name, DrainOrder(left_s=8, source="drill"))
    node = await beat_of(asker, name, state="drained")
    ended = fleet.next_event("ended", node=name)
    assert (ended["code"], ended["replaced_in_s"]) == (0, None)
    assert await Nodes(asker.connection).list() == []
    stopped = await event_of(asker.connection, NodeStopped, node=name)
    assert node.leaves_at is not None
    # A machine that is busy with other things may make it a little late.
    assert node.leaves_at - 2 < stopped.at < node.leaves_at + 1


async def test_a_hint_keeps_batches_away_and_drains_nothing(tmp_path: Path, unique: str) -> None:
    async with serving("aws") as stub:
        env = {**QUICK, "FLEET_CLOUD": "aws", "AWS_EC2_METADATA_SERVICE_ENDPOINT": stub.url}
        with running_fleet(tmp_path, *ONE_SPOT, env=env) as fleet:
            (name,) = fleet.nodes
            async with connected(fleet.nats) as connection:
                asker = Asker(connection, unique)
                stub.rebalance = stub.in_s(0)
                await stub.until(REBALANCE)
                assert (await event_of(connection, NodeHinted, node=name)).source == "aws"
                node = await beat_of(asker, name, notice="rebalance")
                assert (node.state, node.leaves_at) == ("ready", None)
                # It may have asked for a batch job before the hint; it asks for no other one.
                for job in ("before", "batch"):
                    await publish(asker, job)
                await publish(asker, "background", tier="background")
                check(await asker.lines("background"))
                assert await asker.raw_lines("batch") == []


async def test_a_consumer_outlives_its_engine_and_gives_up_one_that_dies_again_and_again(
    tmp_path: Path, unique: str
) -> None:
    env = {**QUICK, "FLEET_SCRIPTED_MISHAPS": "die=stroke,hang=sleep", "FLEET_ALIVE_S": "2"}
    with running_fleet(tmp_path, *ONE_SPOT, "--token-rate", "20", env=env) as fleet:
        (name,) = fleet.nodes
        async with connected(fleet.nats) as connection:
            asker = Asker(connection, unique)
            await publish(asker, "bystander")
            await publish(asker, "killer", ["stroke"])
            lost = await event_of(connection, EngineLost, node=name)
            assert lost.restarts
            check(await asker.lines("bystander"))
            # Three restarts; the fourth death ends the process, and another one comes.
            ended = fleet.next_event("ended", node=name, bound_s=90)
            assert ended["code"] == 1
            deaths = [
                event.restarts for event in await events_of(connection, EngineLost, node=name)
            ]
            assert deaths == [True, True, True, False]
            ready = await events_of(connection, NodeReady, node=name)
            assert len(ready) == 4
            fleet.next_event("replaced", node=name)
            (line,) = await asker.lines("killer", bound_s=90)
            assert line.error is not None


async def test_probes_tell_what_a_consumer_is_up_to(tmp_path: Path, unique: str) -> None:
    port = free_port()
    env = {
        **QUICK,
        "FLEET_HEALTH_PORT": str(port),
        "FLEET_BLOCKED_S": "3",
        "FLEET_FAULTS": "generate.after=block:12@1",
    }
    name = "probed"
    with (
        # In a pool on one machine each consumer has a port that is free, and not this one.
        running_fleet(tmp_path, "--on-demand", "0", "--spot", "0", "--allow-drills") as fleet,
        running_consumer(
            tmp_path, fleet.nats, "spot", "--node", name, "--token-rate", "50", env=env
        ),
    ):
        wait_for_line(tmp_path / "spot.log", "node_ready")
        async with connected(fleet.nats) as connection:
            asker = Asker(connection, unique)
            assert probe(port, "/livez") == (200, "ok")
            assert probe(port, "/readyz") == (200, "ok")
            await publish(asker, "job")
            await sick(port)
            check(await asker.lines("job"))
            assert probe(port, "/livez") == (200, "ok")
            await control.ask(connection, name, DrainOrder(left_s=60, source="drill"))
            assert probe(port, "/livez") == (200, "ok")
            await eventually(lambda: is_drained(port), "its last job to be settled")


def test_a_notice_ends_a_download_and_leaves_nothing_of_it(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as index,
        running_fleet(tmp_path, "--on-demand", "0", "--spot", "0") as fleet,
    ):
        env = {
            **QUICK,
            "FLEET_CACHE": str(tmp_path / "cache"),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": f"http://127.0.0.1:{index.getsockname()[1]}/simple",
            "NO_PROXY": "127.0.0.1",
        }
        index.settimeout(30)
        with running_consumer(tmp_path, fleet.nats, "spot", "--engine", "vllm", env=env):
            asked, _ = index.accept()  # and no answer, as long as anybody waits for one
        with asked:
            asked.settimeout(10)
            while asked.recv(4096):
                pass  # until nobody is there any more
        assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_signals_that_come_late_do_not_make_a_drained_consumer_look_killed(tmp_path: Path) -> None:
    with (
        running_fleet(tmp_path, "--on-demand", "1", "--spot", "0") as fleet,
        running_consumer(tmp_path, fleet.nats, "spot", "--node", "told-often") as process,
    ):
        wait_for_line(tmp_path / "spot.log", "node_ready")
        give_up = time.monotonic() + STOP_S
        while process.poll() is None and time.monotonic() < give_up:
            process.terminate()
            time.sleep(0.01)
        assert process.poll() == 0, (tmp_path / "spot.log").read_text()


def wait_for_line(log: Path, text: str) -> None:
    give_up = time.monotonic() + READY_S
    while text not in log.read_text():
        assert time.monotonic() < give_up, f"{text} did not come:\n{log.read_text()}"
        time.sleep(0.05)


async def is_drained(port: int) -> bool:
    return probe(port, "/readyz") == (503, "the consumer is drained")


async def sick(port: int) -> None:
    """Wait until the blocked event loop is told of."""

    async def look() -> bool:
        status, reason = probe(port, "/livez")
        return status == 503 and "event loop has been blocked" in reason

    await eventually(look, "a blocked loop")
    assert probe(port, "/readyz")[0] == 503


async def publish(
    asker: Asker, job: str, prompts: list[str] = PROMPTS, *, tier: str = "batch"
) -> None:
    body = chunk([chat(prompt, 30, temperature=0) for prompt in prompts])
    await asker.publish(tier, body, headers={"Fleet-Job-Id": job})


def check(lines: list[ResultLine]) -> None:
    assert [text_of(line) for line in lines] == [answer_to(prompt, 30) for prompt in PROMPTS]


async def beat_of(asker: Asker, name: str, **fields: object) -> Node:
    """Wait for a heartbeat with these values."""

    async def look() -> Node | None:
        for node in await Nodes(asker.connection).list():
            if node.node == name and all(getattr(node, f) == v for f, v in fields.items()):
                return node
        return None

    return await eventually(look, f"a beat of {name} with {fields}")


def probe(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read().decode().strip()
