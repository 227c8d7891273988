"""The dashboard's page in a real browser: it draws the fleet, takes keys, and asks nobody else."""

import asyncio
import base64
import itertools
import re
import sys
import urllib.parse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.integration.cli import ROOT
from tests.tools import requires_tool

BOUND_S = 60.0
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]")


class Browser:
    """One page of a browser, by its own protocol. seen: what the page was sent for its terminal."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._answers: dict[int, dict[str, Any]] = {}
        self.asked: set[str] = set()
        self.errors: list[str] = []
        self.seen = b""

    async def do(self, method: str, **params: object) -> dict[str, Any]:
        """Say something to it, and wait for its answer."""
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while number not in self._answers:
            await self._read()
        return self._answers.pop(number)

    async def until_shown(self, text: str) -> None:
        """Wait until the page's terminal was sent this text."""
        async with asyncio.timeout(BOUND_S):
            while text.encode() not in ESCAPES.sub(b"", self.seen):
                await self._read()

    async def press(self, key: str) -> None:
        """Press a key on the page."""
        self.seen = b""
        await self.do("Runtime.evaluate", expression="document.querySelector('textarea').focus()")
        code = ord(key.upper())
        for kind in ("keyDown", "keyUp"):
            await self.do(
                "Input.dispatchKeyEvent", type=kind, key=key, text=key, windowsVirtualKeyCode=code
            )

    async def _read(self) -> None:
        message = await self._socket.receive_json(timeout=BOUND_S)
        if "id" in message:
            self._answers[message["id"]] = message.get("result", {})
            return
        params = message["params"]
        match message["method"]:
            case "Network.webSocketFrameReceived":
                data = params["response"]["payloadData"]
                is_text = params["response"]["opcode"] == 1
                self.seen += data.encode() if is_text else base64.b64decode(data)
            case "Network.requestWillBeSent":
                self.asked.add(urllib.parse.urlsplit(params["request"]["url"]).netloc)
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                self.errors.append(str(params["entry"]))


async def test_the_page_draws_a_fleet_takes_keys_and_asks_nobody_else(tmp_path: Path) -> None:
    chromium = requires_tool("chromium")
    async with serving() as address, browsing(chromium, tmp_path) as browser:
        await browser.do("Network.enable")
        await browser.do("Log.enable")
        await browser.do("Page.navigate", url=f"http://{address}/")
        await browser.until_shown("Overbook")
        await browser.until_shown("spot-")
        await browser.press("2")
        await browser.until_shown("tenant")
        await browser.press("D")
        await browser.until_shown("read-only")
        picture = await browser.do("Page.captureScreenshot")
        assert len(base64.b64decode(picture["data"])) > 10_000, "an empty page is smaller"
        assert browser.asked == {address}
        assert browser.errors == []


@asynccontextmanager
async def serving() -> AsyncIterator[str]:
    """Serve the recorded incident; yield where."""
    async with _program(
        [sys.executable, "-m", "fleet", "top", "--demo", "--web", "127.0.0.1:0"]
    ) as process:
        yield await _said(process, r"http://(127\.0\.0\.1:\d+)")
        process.terminate()
        assert await process.wait() == 0


@asynccontextmanager
async def browsing(chromium: str, folder: Path) -> AsyncIterator[Browser]:
    """Run a browser without a window; yield its one page."""
    flags = [
        "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
        "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
        f"--user-data-dir={folder}", "--window-size=1200,800", "about:blank",
    ]  # fmt: skip
    async with _program([chromium, *flags]) as process, aiohttp.ClientSession() as session:
        address = await _said(process, r"DevTools listening on ws://([^/]+)/")
        async with session.get(f"http://{address}/json/list") as answer:
            pages = [one for one in await answer.json() if one["type"] == "page"]
        url = pages[0]["webSocketDebuggerUrl"]
        async with session.ws_connect(url, max_msg_size=0) as socket:
            yield Browser(socket)


@asynccontextmanager
async def _program(command: list[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        async with asyncio.timeout(BOUND_S):
            await process.communicate()  # until nobody writes to it any more


async def _said(process: asyncio.subprocess.Process, form: str) -> str:
    """Wait for what a program says of itself on stderr."""
    assert process.stderr is not None
    said = ""
    async with asyncio.timeout(BOUND_S):
        while line := (await process.stderr.readline()).decode(errors="replace"):
            said += line
            if found := re.search(form, line):
                return found[1]
    raise AssertionError(f"it ended: {said}")
