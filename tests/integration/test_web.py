"""The dashboard's page: for browsers on this machine, and for no other site's pages."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from dashboard.web import MOST_VIEWS, check_loopback, serve
from fleet.errors import UsageError

# Stands for a view: says that it is one, draws once, and ends when its input does.
VIEW = """
import sys
sys.stdout.buffer.write(b"__GANGLION__\\n" + b"D" + (5).to_bytes(4, "big") + b"hello")
sys.stdout.flush()
sys.stdin.buffer.read(1)
"""
COMMAND = (sys.executable, "-c", VIEW)
BOUND_S = 60.0


@asynccontextmanager
async def page(*origins: str) -> AsyncIterator[int]:
    """Serve; yield the port."""
    stop, ready = asyncio.Event(), asyncio.Queue[str]()
    async with asyncio.TaskGroup() as group:
        group.create_task(
            serve(COMMAND, host="127.0.0.1", port=0, origins=origins, stop=stop.wait,
                  on_ready=ready.put_nowait)
        )  # fmt: skip
        async with asyncio.timeout(BOUND_S):
            url = await ready.get()
        yield int(url.rpartition(":")[2])
        stop.set()


async def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    async with page() as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as browser:
        for path in ("/", "/page.js", "/page.css", "/static/js/textual.js"):
            async with browser.get(path) as answer:
                assert answer.status == 200, path
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
                text = await answer.text()
            if not path.startswith("/static"):
                assert "http://" not in text
                assert "https://" not in text
        async with browser.get("/static/") as answer:
            assert answer.status == 403


@pytest.mark.parametrize("origin", [None, "https://evil.example", "http://127.0.0.1:1", "null"])
async def test_a_page_of_another_site_gets_no_view(origin: str | None) -> None:
    async with page() as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as browser:
        headers = {} if origin is None else {"Origin": origin}
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await browser.ws_connect("/ws", headers=headers)
        assert refused.value.status == 403


async def test_a_foreign_name_for_this_machine_is_not_answered() -> None:
    async with page() as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as browser:
        answer = await browser.get("/", headers={"Host": f"evil.example:{port}"})
        assert answer.status == 403


async def test_a_view_is_drawn_for_our_page_and_for_a_proxys() -> None:
    proxy = "https://ops.example"
    async with page(proxy) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as browser:
        for origin in (f"http://localhost:{port}", proxy):
            headers = {"Origin": origin}
            async with browser.ws_connect("/ws", headers=headers) as view:
                assert (await view.receive(BOUND_S)).data == b"hello"


async def test_there_are_only_so_many_views() -> None:
    async with page() as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as browser:
        headers = {"Origin": f"http://127.0.0.1:{port}"}
        views = [await browser.ws_connect("/ws", headers=headers) for _ in range(MOST_VIEWS)]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await browser.ws_connect("/ws", headers=headers)
        assert refused.value.status == 503
        for view in views:
            await view.close()


@pytest.mark.parametrize("words", ["no json", "[]", "{}", '["resize"]', '["stdin", 7]', "null"])
async def test_what_no_page_of_ours_sends_ends_the_view_and_nothing_else(words: str) -> None:
    async with page() as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as browser:
        headers = {"Origin": f"http://127.0.0.1:{port}"}
        async with browser.ws_connect("/ws?width=x&height=-1", headers=headers) as view:
            assert (await view.receive(BOUND_S)).data == b"hello"
            await view.send_str(words)
            assert (await view.receive(BOUND_S)).type in {
                aiohttp.WSMsgType.CLOSE,
                aiohttp.WSMsgType.CLOSED,
            }
        async with browser.get("/") as answer:
            assert answer.status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org", ""])
async def test_only_loopback_is_listened_on(host: str) -> None:
    with pytest.raises(UsageError, match="proxy"):
        check_loopback(host)


async def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UsageError, match="port"):
        await serve(
            COMMAND, host="127.0.0.1", port=taken.getsockname()[1], stop=_never, on_ready=_ignore
        )


@pytest.mark.parametrize("origin", ["ops.example", "ftp://x", "https://x/path", "https://"])
async def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(UsageError, match="origin"):
        await serve(
            COMMAND, host="127.0.0.1", port=1, origins=[origin], stop=_never, on_ready=_ignore
        )


async def _never() -> None:
    await asyncio.Event().wait()


def _ignore(url: str) -> None:
    del url
