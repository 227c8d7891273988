"""The hardened connection, against a real server and hostile neighbours."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fleet.broker.connection import ApiError, Connection, Message, connect
from fleet.broker.context import Target, find_target
from fleet.errors import BrokerRefused, BrokerUnreachable, ConnectionLost, UsageError
from tests.integration.brokers import connected
from tests.integration.hostile import send_raw
from tests.server import nats_server

BOUND_S = 30.0
# Who waits for so long was not told.
LONG_S = 120.0
BLOCKS = {
    "four bytes": b"\r\n\r\n",
    "two bytes": b"\r\n",
    "wrong version": b"HTTP/1.1 200\r\n\r\n",
    "not UTF-8": b"NATS/1.0\r\nA: \xff\xfe\r\n\r\n",
    "no colon": b"NATS/1.0\r\nAAAA\r\n\r\n",
    "empty name": b"NATS/1.0\r\n: v\r\n\r\n",
    "no end": b"NATS/1.0\r\nA: b",
    "status in words": b"NATS/1.0 abc def\r\n\r\n",
    "zeros": bytes(40),
}
USERS = """
authorization {
  users = [
    { user: all, password: s3cret }
    { user: few, password: s3cret, permissions: {
        publish: ["open.>", "$JS.API.INFO"], subscribe: ["_INBOX.>", "open.>"] } }
    { user: deaf, password: s3cret, permissions: { publish: ">", subscribe: "nothing" } }
  ]
}
"""


@pytest.fixture
async def connection(nats_url: str) -> AsyncIterator[Connection]:
    async with connected(nats_url) as connection:
        yield connection


@pytest.fixture(scope="module")
def locked_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with users; it ends with the module."""
    with nats_server(tmp_path_factory.mktemp("locked"), config=USERS) as server:
        yield server.url


def as_user(url: str, user: str) -> Target:
    return find_target(url.replace("nats://", f"nats://{user}:s3cret@"), {})


@pytest.mark.parametrize("name", BLOCKS)
async def test_a_malformed_header_block_is_one_marked_message(
    connection: Connection, nats_url: str, unique: str, name: str
) -> None:
    arrived: asyncio.Queue[Message] = asyncio.Queue()
    await connection.subscribe(unique, arrived.put_nowait)
    await connection.publish(unique, b"before")
    await connection.request("$JS.API.INFO")
    send_raw(nats_url, unique.encode(), BLOCKS[name], b"evil")
    await connection.publish(unique, b"after", headers={"A": "b"})
    async with asyncio.timeout(BOUND_S):
        before, evil, after = [await arrived.get() for _ in range(3)]
    assert (before.payload, before.malformed) == (b"before", False)
    assert (evil.payload, evil.malformed, evil.status) == (b"evil", True, None)
    assert (after.payload, after.headers, after.malformed) == (b"after", {"A": "b"}, False)


@pytest.mark.parametrize("tail", [b"\xff\xfe", b"a\x0b1", b"a\x0c1", "\u00e9".encode()])
async def test_a_strange_subject_neither_deafens_nor_reconnects(
    connection: Connection, nats_url: str, unique: str, tail: bytes
) -> None:
    arrived: asyncio.Queue[Message] = asyncio.Queue()
    reconnects: list[None] = []
    connection.on_reconnect(lambda: reconnects.append(None))
    await connection.subscribe(f"{unique}.*", arrived.put_nowait)
    await connection.request("$JS.API.INFO")
    send_raw(nats_url, unique.encode() + b"." + tail, b"NATS/1.0\r\n\r\n", b"evil")
    await connection.publish(f"{unique}.b", b"good")
    async with asyncio.timeout(BOUND_S):
        payloads = [(await arrived.get()).payload for _ in range(2)]
    assert payloads == [b"evil", b"good"]
    assert not reconnects


async def test_a_header_called_status_is_no_status(connection: Connection, unique: str) -> None:
    arrived: asyncio.Queue[Message] = asyncio.Queue()
    await connection.subscribe(unique, arrived.put_nowait)
    await connection.publish(unique, b"x", headers={"Status": "503"})
    async with asyncio.timeout(BOUND_S):
        message = await arrived.get()
    assert message.status is None
    assert message.headers == {"Status": "503"}


async def test_a_cancelled_round_trip_does_not_end_the_reading(
    connection: Connection, unique: str
) -> None:
    subscription = await connection.subscribe(unique, lambda _: None)
    await subscription.drain(wait_s=0)  # gives up while its PONG is on the way
    await connection.request("$JS.API.INFO")
    assert connection.connected


async def test_a_cancellation_that_comes_with_the_answer_is_not_forgotten(
    connection: Connection, unique: str
) -> None:
    subscription = await connection.subscribe(unique, lambda _: None)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(subscription.drain())
        await asyncio.sleep(0)  # by now it waits for the server's word
        (pong,) = connection._client._pongs  # noqa: SLF001 - nobody else can tell
        pong.add_done_callback(lambda _: task.cancel())
    # A consumer that comes back from a freeze, and is told to go, would pull for ever.
    assert task.cancelled()


async def test_what_is_too_large_with_its_headers_is_refused_here(
    connection: Connection, unique: str
) -> None:
    with pytest.raises(UsageError, match=r"1048\d{3} bytes with its headers.*1048576"):
        await connection.publish(unique, bytes(connection.max_payload), headers={"A": "b"})
    headers = {"A": "b"}
    fits = connection.max_payload - len("NATS/1.0\r\nA: b\r\n\r\n")
    await connection.publish(unique, bytes(fits), headers=headers)
    await connection.request("$JS.API.INFO")
    with pytest.raises(UsageError):
        await connection.publish(unique, bytes(fits + 1), headers=headers)
    assert connection.connected


@pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB b 0\r\n", "a\tb"])
async def test_a_subject_that_cannot_be_is_refused(connection: Connection, subject: str) -> None:
    with pytest.raises(UsageError):
        await connection.publish(subject, b"")


async def test_a_request_that_nobody_hears_says_so(connection: Connection, unique: str) -> None:
    with pytest.raises(BrokerRefused, match=f"nothing listens on '{unique}'"):
        await connection.request(unique)
    with pytest.raises(BrokerRefused, match=r"no stream takes.*fleet init"):
        await connection.append(unique, b"")


async def test_a_request_without_an_answer_ends_in_time(
    connection: Connection, unique: str
) -> None:
    await connection.subscribe(unique, lambda _: None)
    async with asyncio.timeout(BOUND_S):
        with pytest.raises(BrokerUnreachable, match=r"within 0\.2 s"):
            await connection.request(unique, wait_s=0.2)


async def test_an_answer_that_is_no_receipt_is_refused(connection: Connection, unique: str) -> None:
    async with asyncio.TaskGroup() as group:

        def answer(message: Message) -> None:
            group.create_task(connection.publish(message.reply, b"[" * 100_000))

        await connection.subscribe(unique, answer)
        with pytest.raises(BrokerRefused, match="is not JetStream's"):
            await connection.append(unique, b"x")


async def test_a_full_queue_is_called_so(connection: Connection, unique: str) -> None:
    stream = {"name": unique, "subjects": [unique], "max_msgs": 1, "discard": "new"}
    await connection.api(f"STREAM.CREATE.{unique}", {**stream, "storage": "file"})
    first = await connection.append(unique, b"x", headers={"Nats-Msg-Id": "1"})
    again = await connection.append(unique, b"x", headers={"Nats-Msg-Id": "1"})
    assert (first.sequence, first.duplicate, again.duplicate) == (1, False, True)
    with pytest.raises(ApiError, match="queue full") as refusal:
        await connection.append(unique, b"y")
    assert refusal.value.err_code == 10077


async def test_an_error_of_the_api_has_its_number(connection: Connection, unique: str) -> None:
    with pytest.raises(ApiError, match="stream not found") as refusal:
        await connection.api(f"STREAM.INFO.{unique}")
    assert (refusal.value.err_code, refusal.value.code) == (10059, 404)


async def test_a_forbidden_request_fails_at_once_with_the_reason(locked_url: str) -> None:
    async with connect(as_user(locked_url, "few"), name="test") as connection:
        async with asyncio.timeout(BOUND_S):
            with pytest.raises(BrokerRefused, match=r'(?i)forbidden.*publish to "Closed\.x"'):
                await connection.request("Closed.x", wait_s=LONG_S)
        assert await connection.api("INFO")


async def test_without_the_right_to_hear_answers_a_request_says_so(locked_url: str) -> None:
    async with connect(as_user(locked_url, "deaf"), name="test") as connection:
        for _ in range(2):
            with pytest.raises(BrokerRefused, match=r"(?i)forbidden.*subscription"):
                await connection.request("$JS.API.INFO")


async def test_wrong_credentials_are_refused_and_not_shown(locked_url: str) -> None:
    target = find_target(locked_url.replace("nats://", "nats://all:h4x0r@"), {})
    async with asyncio.timeout(BOUND_S):
        with pytest.raises(BrokerRefused, match="refused the credentials") as refusal:
            async with connect(target, name="test", wait_s=LONG_S):
                pass
    assert "h4x0r" not in str(refusal.value)


async def test_no_server_is_told_with_address_and_remedy() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and does not listen
        url = f"nats://me:s3cret@127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(BrokerUnreachable, match=r"127\.0\.0\.1:\d+.*fleet up") as refusal:
            async with connect(find_target(url, {}), name="test", wait_s=2.0):
                pass
    assert "s3cret" not in str(refusal.value)


async def test_tls_is_never_left_out(nats_url: str) -> None:
    target = find_target(nats_url.replace("nats://", "tls://me:s3cret@"), {})
    with pytest.raises(BrokerUnreachable, match="secure connection not available"):
        async with connect(target, name="test", wait_s=2.0):
            pass


async def test_an_error_of_the_body_leaves_as_it_is(nats_url: str) -> None:
    with pytest.raises(UsageError, match="mine"):
        async with connected(nats_url):
            raise UsageError("mine")


async def test_an_error_of_a_receiver_ends_the_body(nats_url: str, unique: str) -> None:
    def broken(_: Message) -> None:
        raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError):
        async with connected(nats_url) as connection, asyncio.timeout(BOUND_S):
            await connection.subscribe(unique, broken)
            await connection.publish(unique)
            await asyncio.Event().wait()


async def test_a_reading_task_that_ends_is_noticed(connection: Connection, unique: str) -> None:
    back = asyncio.Event()
    connection.on_reconnect(back.set)
    (reading,) = [task for task in asyncio.all_tasks() if "_read_loop" in repr(task.get_coro())]
    reading.cancel()
    async with asyncio.timeout(BOUND_S):
        await back.wait()
    assert await connection.api("INFO")


async def test_subscriptions_and_requests_survive_a_restart_of_the_server(tmp_path: Path) -> None:
    arrived: asyncio.Queue[Message] = asyncio.Queue()
    back = asyncio.Event()
    with nats_server(tmp_path) as server:
        port = server.port
        url = server.url
        manager = connected(url)
        connection = await manager.__aenter__()
        await connection.subscribe("a", arrived.put_nowait)
        connection.on_reconnect(back.set)
        server.process.kill()
    with pytest.raises(BrokerUnreachable, match="the connection is down"):
        await connection.request("$JS.API.INFO", wait_s=0.3)
    with nats_server(tmp_path, port=port):
        async with asyncio.timeout(BOUND_S):
            await back.wait()
        await connection.publish("a", b"x")
        async with asyncio.timeout(BOUND_S):
            assert (await arrived.get()).payload == b"x"
        assert await connection.api("INFO")
        await manager.__aexit__(None, None, None)


async def test_closed_for_good_is_told_to_all_who_wait(
    locked_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    with nats_server(tmp_path, config=USERS) as server:
        manager = connect(as_user(server.url, "all"), name="test")
        connection = await manager.__aenter__()
        port = server.port
        server.process.kill()
    with nats_server(tmp_path, port=port, config=USERS.replace("s3cret", "changed")):
        with pytest.raises(ConnectionLost):
            async with asyncio.timeout(BOUND_S):
                await connection.closed()
        with pytest.raises(ConnectionLost):
            await connection.publish("a")
        with pytest.raises(ConnectionLost):
            await connection.request("a")
        await manager.__aexit__(None, None, None)
