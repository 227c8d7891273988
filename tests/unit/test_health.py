"""Probes that tell the truth, also when nothing else can."""

import asyncio
import math
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from consumers.health import BLOCK_S, Pulse, served
from fleet.errors import UsageError
from fleet.node import NodeState

HOST = "127.0.0.1"


class World:
    """What a pulse looks at."""

    def __init__(self) -> None:
        self.connected = True
        self.state: NodeState = "ready"
        self.pulse = Pulse(
            alive_s=0.3,
            blocked_s=0.3,
            connected=lambda: self.connected,
            state=lambda: self.state,
        )


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def port(world: World) -> Iterator[int]:
    with served(world.pulse, host=HOST, port=0) as port:
        assert port
        yield port


def probe(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read().decode().strip()


async def test_a_blocked_event_loop_is_not_alive_and_says_for_how_long(
    world: World, port: int
) -> None:
    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(world.pulse.tick_for_ever())
        await asyncio.sleep(0)
        assert probe(port, "/livez") == (200, "ok")
        time.sleep(0.4)  # noqa: ASYNC251 - the block itself
        status, reason = probe(port, "/livez")
        assert status == 503
        assert "event loop has been blocked" in reason
        assert probe(port, "/readyz")[0] == 503
        ticking.cancel()


def test_a_silent_engine_is_not_alive(world: World, port: int) -> None:
    world.pulse.engine_alive_at = lambda: time.monotonic() - 1
    status, reason = probe(port, "/livez")
    assert (status, "no sign of life" in reason) == (503, True)


async def test_a_dead_engine_is_told_at_once_also_after_a_block(world: World, port: int) -> None:
    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(world.pulse.tick_for_ever())
        await asyncio.sleep(0)
        time.sleep(BLOCK_S + 0.2)  # noqa: ASYNC251 - the block itself
        await asyncio.sleep(0.6)  # so that the loop saw it
        world.pulse.engine_alive_at = lambda: -math.inf
        assert probe(port, "/livez") == (503, "the engine is gone")
        ticking.cancel()


async def test_time_in_which_nobody_listened_is_not_the_engines_silence(world: World) -> None:
    began = time.monotonic()
    world.pulse.engine_alive_at = lambda: began
    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(world.pulse.tick_for_ever())
        await asyncio.sleep(0)
        time.sleep(BLOCK_S + 0.2)  # noqa: ASYNC251 - the block itself
        assert world.pulse.engine_silent_s < 0.1
        async with asyncio.timeout(5):
            while world.pulse.engine_silent_s == 0:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.05)
        assert world.pulse.engine_silent_s < 1
        ticking.cancel()


@pytest.mark.parametrize("state", ["loading", "draining", "drained"])
def test_who_takes_no_work_is_alive_but_not_ready(
    world: World, port: int, state: NodeState
) -> None:
    world.state = state
    assert probe(port, "/livez") == (200, "ok")
    assert probe(port, "/readyz") == (503, f"the consumer is {state}")


def test_without_a_broker_it_is_alive_but_not_ready(world: World, port: int) -> None:
    world.connected = False
    assert probe(port, "/livez")[0] == 200
    assert probe(port, "/readyz") == (503, "there is no connection to the broker")


def test_other_paths_and_methods_are_refused(port: int) -> None:
    assert probe(port, "/metrics")[0] == 404
    request = urllib.request.Request(f"http://{HOST}:{port}/livez", data=b"x", method="POST")
    with pytest.raises(urllib.error.HTTPError, match="501"):
        urllib.request.urlopen(request, timeout=5)


def test_a_prober_that_says_nothing_holds_nobody_up(port: int) -> None:
    with socket.create_connection((HOST, port)):
        assert probe(port, "/livez") == (200, "ok")


def test_a_taken_port_is_an_error_with_the_remedy(world: World, port: int) -> None:
    with (
        pytest.raises(UsageError, match="FLEET_HEALTH_PORT"),
        served(world.pulse, host=HOST, port=port),
    ):
        pass


def test_without_a_port_nothing_listens(world: World) -> None:
    with served(world.pulse, host=HOST, port=None) as port:
        assert port is None
