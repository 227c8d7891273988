"""Pulling: no more comes than was asked for, and nothing is lost on the way."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fleet.broker.connection import Connection
from fleet.broker.queue import Puller
from fleet.broker.server import serve
from fleet.errors import BrokerRefused, UsageError
from tests.integration.brokers import connected
from tests.integration.queues import (
    WAIT_S,
    WorkQueue,
    emptied,
    make_durable,
    puller,
    stored,
    take,
    take_ack,
    waiting,
    work_queue,
)
from tests.server import nats_server


@pytest.fixture
async def connection(nats_url: str) -> AsyncIterator[Connection]:
    async with connected(nats_url) as connection:
        yield connection


@pytest.fixture
async def queue(connection: Connection, unique: str) -> WorkQueue:
    return await work_queue(connection, unique)


async def test_a_delivery_says_where_it_comes_from(
    connection: Connection, queue: WorkQueue
) -> None:
    for number in range(3):
        await connection.append(queue.subject, b"%d" % number, headers={"A": "b"})
    async with puller(connection, queue) as pulls:
        await pulls.ask(1)
        delivery = await take(pulls)
        assert (delivery.stream, delivery.sequence, delivery.number) == (queue.stream, 1, 1)
        assert (delivery.subject, delivery.payload) == (queue.subject, b"0")
        assert (delivery.headers, delivery.malformed) == ({"A": "b"}, False)
        assert delivery.headers_bytes == len("NATS/1.0\r\nA: b\r\n\r\n")
        assert delivery.pending == 2
        assert abs(delivery.published_at - time.time()) < 60
        await delivery.ack()
    assert await stored(connection, queue) == 2


async def test_a_job_given_back_comes_again_and_a_hopeless_one_does_not(
    connection: Connection, queue: WorkQueue
) -> None:
    await connection.append(queue.subject, b"x")
    async with puller(connection, queue) as pulls:
        await pulls.ask(1)
        await (await take(pulls)).nak()
        began = time.monotonic()
        again = await take(pulls)
        await again.extend()
        await again.nak(0.3)
        last = await take(pulls)
        assert time.monotonic() - began >= 0.3
        assert (again.number, last.number) == (2, 3)
        await last.term("bad\r\nprompt" * 50)
        assert await pulls.next() is None
    await emptied(connection, queue)


async def test_no_more_comes_than_was_asked_for(connection: Connection, queue: WorkQueue) -> None:
    for _ in range(5):
        await connection.append(queue.subject, b"x")
    async with puller(connection, queue) as pulls:
        await pulls.ask(2)
        assert pulls.outstanding == 2
        for left in (1, 0):
            await take_ack(pulls)
            assert pulls.outstanding == left
        await pulls.ask(0)
        assert await pulls.next() is None
    assert await stored(connection, queue) == 3


async def test_an_idle_request_ends_and_owes_nothing(
    connection: Connection, queue: WorkQueue
) -> None:
    async with puller(connection, queue) as pulls:
        await pulls.ask(3)
        async with asyncio.timeout(WAIT_S):
            assert await pulls.next() is None
        assert pulls.outstanding == 0


async def test_requests_side_by_side_are_counted_together(
    connection: Connection, queue: WorkQueue
) -> None:
    async with puller(connection, queue) as pulls:
        for count in (1, 2, 3):
            await pulls.ask(count)
        for _ in range(4):
            await connection.append(queue.subject, b"x")
        for left in (5, 4, 3, 2):
            await take_ack(pulls)
            assert pulls.outstanding == left
        async with asyncio.timeout(WAIT_S):
            while pulls.outstanding:
                assert await pulls.next() is None


async def test_the_lower_number_is_served_first(connection: Connection, queue: WorkQueue) -> None:
    async with puller(connection, queue) as spot, puller(connection, queue, priority=1) as other:
        await other.ask(1)
        await spot.ask(1)
        await waiting(connection, queue, 2)
        await connection.append(queue.subject, b"x")
        await take_ack(spot)
        assert other.outstanding == 1


async def test_what_was_not_taken_is_returned_at_the_end(
    connection: Connection, queue: WorkQueue
) -> None:
    total = 200
    for number in range(total):
        await connection.publish(queue.subject, b"%d" % number)
    async with puller(connection, queue) as pulls:
        await pulls.ask(total)
        taken = [await take(pulls)]
    left = await pulls.stop()
    seen = sorted(delivery.sequence for delivery in taken + left)
    info = await connection.api(f"CONSUMER.INFO.{queue.stream}.{queue.durable}")
    assert seen == list(range(1, info["num_ack_pending"] + 1))
    for delivery in left:
        await delivery.nak()
    assert await pulls.stop() == []
    async with puller(connection, queue) as others:
        await others.ask(1)
        assert (await take(others)).payload


async def test_a_cancelled_wait_loses_no_delivery(connection: Connection, queue: WorkQueue) -> None:
    async with puller(connection, queue) as pulls:
        await pulls.ask(1)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(pulls.next())
            await connection.append(queue.subject, b"x")
            waiting.cancel()
        if waiting.cancelled():
            await take_ack(pulls)
        else:
            assert waiting.result() is not None


async def test_a_durable_that_is_deleted_is_missed_until_it_is_made_again(
    connection: Connection, queue: WorkQueue, caplog: pytest.LogCaptureFixture
) -> None:
    async with puller(connection, queue) as pulls:
        await pulls.ask(1)
        await waiting(connection, queue, 1)
        await connection.api(f"CONSUMER.DELETE.{queue.stream}.{queue.durable}")
        await connection.append(queue.subject, b"kept")
        for _ in range(3):
            assert await pulls.next() is None
            assert pulls.absence
            await pulls.ask(1)
        assert [one for one in caplog.messages if "fleet init" in one][1:] == []
        await make_durable(connection, queue.stream, queue.durable)
        assert (await take(pulls)).payload == b"kept"
        assert not pulls.absence


async def test_a_durable_without_our_group_is_told_with_the_remedy(
    connection: Connection, queue: WorkQueue
) -> None:
    async with Puller(connection, stream=queue.stream, durable=queue.durable) as pulls:
        await pulls.ask(1)
        with pytest.raises(BrokerRefused, match=r"Priority Group missing.*fleet doctor"):
            await pulls.next()


async def test_a_request_that_the_server_forgot_is_asked_again(
    connection: Connection, unique: str
) -> None:
    # Over `max_waiting` the server is silent towards a request that has a heartbeat.
    queue = await work_queue(connection, unique, max_waiting=1)
    async with puller(connection, queue) as first, puller(connection, queue) as second:
        await first.ask(1)
        await waiting(connection, queue, 1)
        await second.ask(1)
        async with asyncio.timeout(WAIT_S):
            while second.outstanding:
                assert await second.next() is None
        async with asyncio.timeout(WAIT_S):
            while first.outstanding:
                assert await first.next() is None
        await connection.append(queue.subject, b"x")
        await take_ack(second)


async def test_pulling_survives_kill_9_of_the_server(tmp_path: Path, unique: str) -> None:
    with nats_server(tmp_path) as server:
        manager = connected(server.url)
        connection = await manager.__aenter__()
        queue = await work_queue(connection, unique, ack_wait_s=1)
        pulls = await puller(connection, queue).__aenter__()
        await pulls.ask(1)
        server.process.kill()
    async with asyncio.timeout(WAIT_S):
        while pulls.outstanding:
            assert await pulls.next() is None
    with nats_server(tmp_path, port=server.port):
        async with asyncio.timeout(WAIT_S):
            await connection.up()
        await connection.append(queue.subject, b"x")
        await take_ack(pulls)
        assert await stored(connection, queue) == 0
        assert await pulls.stop() == []
        await manager.__aexit__(None, None, None)


async def test_a_request_of_before_the_restart_brings_nothing_more(unique: str) -> None:
    async with serve() as server, connected(server.url) as connection:
        queue = await work_queue(connection, unique)
        async with puller(connection, queue) as pulls:
            await pulls.ask(5)
            pulls._forget()  # noqa: SLF001 - as after a reconnect
            assert await pulls.next() is None
            for _ in range(5):
                await connection.append(queue.subject, b"x")
            await pulls.ask(1)
            await take_ack(pulls)
            assert await pulls.next() is None
        assert await pulls.stop() == []
        assert await stored(connection, queue) == 4


async def test_forbidden_pulls_are_told(tmp_path: Path, unique: str) -> None:
    users = (
        "authorization { users = [ { user: all, password: x }, { user: few, password: x, "
        'permissions: { publish: ["$JS.API.INFO"], subscribe: "_INBOX.>" } } ] }'
    )
    with nats_server(tmp_path, config=users) as server:
        url = server.url.replace("nats://", "nats://all:x@")
        async with connected(url) as connection:
            queue = await work_queue(connection, unique)
        async with (
            connected(url.replace("all", "few")) as connection,
            puller(connection, queue) as pulls,
        ):
            await pulls.ask(1)
            with pytest.raises(BrokerRefused, match="forbidden"):
                await pulls.next()


async def test_a_heartbeat_must_fit_into_the_request(connection: Connection) -> None:
    with pytest.raises(UsageError, match="heartbeat_s"):
        Puller(connection, stream="s", durable="d", expires_s=1, heartbeat_s=0.6)
