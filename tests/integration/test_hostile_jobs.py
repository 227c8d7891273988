"""Jobs that no library would send: each is one delivery, and its neighbours are not hurt."""

from collections.abc import AsyncIterator

import pytest

from fleet.broker.connection import Connection
from tests.integration.brokers import connected
from tests.integration.hostile import send_raw
from tests.integration.queues import WorkQueue, puller, stored, take, take_ack, work_queue

BLOCKS = {
    "four bytes": b"\r\n\r\n",
    "wrong version": b"HTTP/1.1 200\r\n\r\n",
    "not UTF-8": b"NATS/1.0\r\nA: \xff\xfe\r\n\r\n",
}
STATUS_LINES = [
    b"NATS/1.0 100 Idle Heartbeat\r\n\r\n",
    b"NATS/1.0 404 No Messages\r\n\r\n",
    b"NATS/1.0 409 Consumer Deleted\r\n\r\n",
    b"NATS/1.0 503\r\n\r\n",
]


@pytest.fixture
async def connection(nats_url: str) -> AsyncIterator[Connection]:
    async with connected(nats_url) as connection:
        yield connection


@pytest.fixture
async def queue(connection: Connection, unique: str) -> WorkQueue:
    return await work_queue(connection, unique)


@pytest.mark.parametrize("name", BLOCKS)
async def test_a_malformed_job_is_delivered_among_its_neighbours(
    connection: Connection, queue: WorkQueue, nats_url: str, name: str
) -> None:
    await connection.append(queue.subject, b"before")
    send_raw(nats_url, queue.subject.encode(), BLOCKS[name], b"evil")
    await connection.append(queue.subject, b"after")
    async with puller(connection, queue) as pulls:
        await pulls.ask(3)
        before, evil, after = [await take(pulls) for _ in range(3)]
        assert [before.malformed, evil.malformed, after.malformed] == [False, True, False]
        assert (evil.payload, evil.headers) == (b"evil", {})
        assert evil.headers_bytes == len(BLOCKS[name])
        await evil.ack()
    assert await stored(connection, queue) == 2


@pytest.mark.parametrize("line", STATUS_LINES)
async def test_a_job_that_looks_like_a_status_is_a_job(
    connection: Connection, queue: WorkQueue, nats_url: str, line: bytes
) -> None:
    send_raw(nats_url, queue.subject.encode(), line, b"")
    async with puller(connection, queue) as pulls:
        await pulls.ask(1)
        await take_ack(pulls)
    assert await stored(connection, queue) == 0


@pytest.mark.parametrize("tail", [b"\xff", b"a\x0b1"])
async def test_a_job_on_a_strange_subject_is_delivered(
    connection: Connection, queue: WorkQueue, nats_url: str, tail: bytes
) -> None:
    send_raw(nats_url, queue.stream.encode() + b"." + tail, b"NATS/1.0\r\n\r\n", b"evil")
    async with puller(connection, queue) as pulls:
        await pulls.ask(1)
        assert (await take(pulls)).payload == b"evil"
