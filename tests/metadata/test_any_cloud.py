"""Which cloud is listened to, and what rubbish cannot do."""

import asyncio
import logging
import socket
import sys
import time

import msgspec
import pytest

from consumers.interruption.follow import follow
from fleet.settings import Cloud
from tests.asking import eventually
from tests.metadata.listening import QUICK, listening
from tests.metadata.stub import ACTION, EVENTS, MAINTENANCE, NAME, PREEMPTED, PUT, serving

DEEP = b"[" * 60_000
RUBBISH = {
    "nothing": b"",
    "a page": b"<html>It works!</html>",
    "another type": b'{"action": 7, "Events": 7, "noticeTime": {}}',
    "null": b"null",
    "deep": DEEP,
    "huge": b'{"action": "terminate"' + b" " * 2_000_000 + b"}",
    "no text": b"\xff\xfe\x00",
    "an unknown action": b'{"action": "dance", "time": "2026-11-25T08:19:47Z"}',
    "an event that is none": b'{"Events": [7, {"EventId": 1}, {"EventType": "Preempt"}]}',
}


@pytest.mark.parametrize("body", RUBBISH.values(), ids=RUBBISH)
@pytest.mark.parametrize(
    ("cloud", "path"), [("aws", ACTION), ("gcp", MAINTENANCE), ("azure", EVENTS)]
)
async def test_rubbish_is_ignored_and_warned_of_once(
    cloud: Cloud, path: str, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(cloud) as stub:
        stub.raw[path] = body
        async with listening(stub, cloud) as listener:
            await stub.until(path, 4)
            assert listener.notices == []
            said = [r.message for r in caplog.records if r.levelno == logging.WARNING]
            assert said in ([], ["a metadata answer makes no sense"])  # a GCP value may be anything
            del stub.raw[path]
            stub.gives_notice()
            stub.values[PREEMPTED] = "TRUE"
            stub.schedules("Preempt")
            await stub.touch()
            await listener.heard()


@pytest.mark.parametrize("cloud", ["aws", "gcp", "azure"])
async def test_a_redirect_is_not_followed(cloud: Cloud) -> None:
    async with serving(cloud) as stub:
        stub.redirects = True
        async with listening(stub, cloud) as listener:
            await stub.until({"aws": PUT, "gcp": PREEMPTED, "azure": NAME}[cloud], 3)
        assert listener.notices == []
        assert stub.statuses[404] == 0


async def test_answers_that_are_no_http_are_silence() -> None:
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"\x00\xff" * 9000 + b"\r\n\r\n")
        writer.close()
        tries.release()

    tries = asyncio.Semaphore(0)
    server = await asyncio.start_server(garbage, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, asyncio.TaskGroup() as group:
        env = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": url}
        following = group.create_task(follow(print, cloud="aws", env=env, pace=QUICK))
        for _ in range(3):
            async with asyncio.timeout(10):
                await tries.acquire()
        following.cancel()


@pytest.mark.parametrize("cloud", ["aws", "gcp", "azure"])
async def test_auto_finds_the_cloud_and_asks_only_that_one(cloud: Cloud) -> None:
    async with serving(cloud) as stub, listening(stub, "auto") as listener:
        await stub.until({"aws": ACTION, "gcp": MAINTENANCE, "azure": EVENTS}[cloud])
        missed = stub.statuses[404]
        stub.gives_notice()
        stub.values[PREEMPTED] = "TRUE"
        stub.schedules("Preempt")
        await stub.touch()
        assert (await listener.heard()).source == cloud
        assert cloud == "aws" or stub.statuses[404] == missed


async def test_auto_waits_for_a_cloud_that_is_late() -> None:
    async with serving("azure") as stub:
        stub.status = 503
        async with listening(stub, "auto") as listener:
            await stub.until(NAME, 3)
            stub.status = None
            stub.schedules("Preempt")
            await listener.heard()


async def test_where_nothing_listens_there_is_one_word_and_no_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: refused
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        env = {
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{host}",
            "GCE_METADATA_HOST": host,
            "FLEET_AZURE_METADATA": f"http://{host}",
        }

        def said() -> list[tuple[str, int]]:
            records = [r for r in caplog.records if r.name.startswith("consumers")]
            return [(r.message, r.levelno) for r in records]

        async def each_was_asked() -> bool:
            return len(said()) == 3  # one a cloud

        async with asyncio.TaskGroup() as group:
            following = group.create_task(follow(print, cloud="auto", env=env, pace=QUICK))
            await eventually(each_was_asked, "a word for each cloud")
            await asyncio.sleep(10 * QUICK.silent_s)  # it asks on, and says no more
            following.cancel()
    assert said() == [("no metadata service, so no early notice", logging.INFO)] * 3


async def test_none_opens_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", forbidden)
    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", forbidden)
    monkeypatch.setitem(sys.modules, "aiohttp", None)  # importing it would fail
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await follow(print, cloud="none", env={}, pace=QUICK)


async def test_an_answer_that_drips_is_given_up() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began = time.monotonic()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        await reader.read()  # until the other side has had enough
        ended.append(time.monotonic() - began)
        writer.close()
        done.set()

    ended: list[float] = []
    done = asyncio.Event()
    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    env = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": url}
    pace = msgspec.structs.replace(QUICK, answer_s=0.1)
    async with server, asyncio.TaskGroup() as group:
        following = group.create_task(follow(print, cloud="aws", env=env, pace=pace))
        async with asyncio.timeout(10):
            await done.wait()
        following.cancel()
    assert ended[0] < 5
