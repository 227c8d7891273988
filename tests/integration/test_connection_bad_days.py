"""Connections that go bad: no wait on them is for ever, and nothing of them outlives them."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fleet.broker.connection import Connection
from fleet.broker.dial import ROOM_S
from fleet.errors import BrokerUnreachable
from tests.integration.brokers import connected, reconnect
from tests.server import nats_server

LARGE = bytes(1_000_000)
# More than the sockets of both sides hold.
MANY = 40
BOUND_S = 30.0


@pytest.fixture
async def frozen(tmp_path: Path) -> AsyncIterator[Connection]:
    """A connection to a broker that reads no more, with more to send than is taken."""
    with nats_server(tmp_path / "frozen") as server:
        async with connected(server.url) as connection, asyncio.TaskGroup() as group:
            os.kill(server.process.pid, signal.SIGSTOP)
            try:
                filling = group.create_task(fill(connection))
                async with asyncio.timeout(BOUND_S):
                    while not unsent(connection):  # noqa: ASYNC110 - nobody tells of it
                        await asyncio.sleep(0.01)
                yield connection
                filling.cancel()
            finally:
                os.kill(server.process.pid, signal.SIGCONT)


async def fill(connection: Connection) -> None:
    for _ in range(MANY):
        await connection.publish("x", LARGE)


def unsent(connection: Connection) -> int:
    transport = connection._client._transport  # noqa: SLF001 - only the socket's buffer can tell
    writer = getattr(transport, "_io_writer", None)
    return 0 if writer is None else int(writer.transport.get_write_buffer_size())


async def test_a_request_ends_in_time_though_nothing_can_be_sent(frozen: Connection) -> None:
    async def ask() -> None:
        with pytest.raises(BrokerUnreachable, match=r"within 0\.5 s"):
            await frozen.request("y", LARGE, wait_s=0.5)

    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(ask())


async def test_who_waits_for_room_can_be_told_to_end(frozen: Connection) -> None:
    async with asyncio.TaskGroup() as group:
        stuck = [group.create_task(fill(frozen)) for _ in range(2)]
        await asyncio.sleep(0)
        for task in stuck:
            task.cancel()
    assert all(task.cancelled() for task in stuck)


async def test_who_publishes_waits_no_longer_than_its_bound(frozen: Connection) -> None:
    client = frozen._client  # noqa: SLF001 - the bound is the library's to keep, under this name
    assert vars(client)["_flush_timeout"] == ROOM_S
    vars(client)["_flush_timeout"] = 0.2
    async with asyncio.timeout(4):
        for _ in range(4):
            await frozen.publish("y", LARGE)


async def test_it_is_left_for_a_server_that_works(frozen: Connection, tmp_path: Path) -> None:
    back = asyncio.Event()
    frozen.on_reconnect(back.set)
    with nats_server(tmp_path / "other") as other:
        frozen._client.set_server_pool([other.url])  # noqa: SLF001 - else it takes its time
        await reconnect(frozen)
        async with asyncio.timeout(BOUND_S):
            await back.wait()
        assert await frozen.api("INFO")
