"""The numbers that KEDA reads, over HTTP."""

import json
import socket
from collections.abc import AsyncIterator
from typing import NamedTuple

import aiohttp
import pytest

from fleet.errors import UsageError
from fleet.pool.kubernetes import STALE_S, Board, Targets, serving


class Clock:
    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


class Endpoint(NamedTuple):
    board: Board
    clock: Clock
    url: str
    http: aiohttp.ClientSession

    async def get(self, path: str) -> tuple[int, str]:
        async with self.http.get(self.url + path) as answer:
            return answer.status, await answer.text()


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    clock = Clock()
    board = Board(clock=clock)
    async with serving(board) as url, aiohttp.ClientSession() as http:
        yield Endpoint(board, clock, url, http)


TARGETS = Targets(spot=12, fallback=2, realtime=3)


async def test_each_number_stands_where_the_trigger_looks(endpoint: Endpoint) -> None:
    endpoint.board.publish("smollm2", TARGETS)
    status, text = await endpoint.get("/targets/smollm2")
    assert status == 200
    assert json.loads(text) == {"spot": 12, "fallback": 2, "realtime": 3}


async def test_a_nought_that_was_decided_is_said(endpoint: Endpoint) -> None:
    endpoint.board.publish("smollm2", Targets(spot=0, fallback=0, realtime=0))
    status, text = await endpoint.get("/targets/smollm2")
    assert (status, json.loads(text)["fallback"]) == (200, 0)


async def test_what_was_never_decided_is_an_error_and_not_a_nought(endpoint: Endpoint) -> None:
    status, text = await endpoint.get("/targets/smollm2")
    assert status == 503
    assert "smollm2" in text
    assert (await endpoint.get("/readyz"))[0] == 503
    assert (await endpoint.get("/livez"))[0] == 200


async def test_old_numbers_are_an_error_until_they_are_said_again(endpoint: Endpoint) -> None:
    endpoint.board.publish("smollm2", TARGETS)
    endpoint.clock.at += STALE_S
    assert (await endpoint.get("/targets/smollm2"))[0] == 200
    endpoint.clock.at += 1.0
    status, text = await endpoint.get("/targets/smollm2")
    assert status == 503
    assert "stuck" in text
    assert (await endpoint.get("/readyz"))[0] == 503
    endpoint.board.publish("smollm2", TARGETS)
    assert (await endpoint.get("/targets/smollm2"))[0] == 200
    assert (await endpoint.get("/readyz"))[0] == 200


async def test_who_no_longer_leads_says_nothing(endpoint: Endpoint) -> None:
    endpoint.board.publish("smollm2", TARGETS)
    endpoint.board.withdraw()
    assert (await endpoint.get("/targets/smollm2"))[0] == 503
    assert (await endpoint.get("/readyz"))[0] == 503


async def test_one_models_numbers_are_not_anothers(endpoint: Endpoint) -> None:
    endpoint.board.publish("smollm2", TARGETS)
    assert (await endpoint.get("/targets/other"))[0] == 503


@pytest.mark.parametrize("path", ["/", "/targets/", "/targets", "/targets/a/b", "/metrics"])
async def test_there_is_nothing_else(endpoint: Endpoint, path: str) -> None:
    endpoint.board.publish("smollm2", TARGETS)
    assert (await endpoint.get(path))[0] == 404


async def test_nobody_can_write(endpoint: Endpoint) -> None:
    endpoint.board.publish("smollm2", TARGETS)
    for verb in ("POST", "PUT", "DELETE", "PATCH"):
        async with endpoint.http.request(verb, f"{endpoint.url}/targets/smollm2") as answer:
            assert answer.status == 405


async def test_it_is_on_loopback_unless_somebody_says_otherwise(endpoint: Endpoint) -> None:
    assert endpoint.url.startswith("http://127.0.0.1:")


async def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match="cannot listen"):
            await _serve(port)


async def _serve(port: int) -> None:
    async with serving(Board(), port=port):
        raise AssertionError("two serve on one port")


def test_fewer_than_no_pods_are_refused() -> None:
    with pytest.raises(UsageError, match="fewer pods than none"):
        Targets(spot=-1, fallback=0, realtime=0)
