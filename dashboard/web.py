"""The dashboard in a browser on this machine: read-only, and for nobody else's pages.

There is no login. It listens on loopback alone, refuses what another site's page or another name
for this machine asks for, and fetches nothing from anywhere else.
"""

import asyncio
import ipaddress
import logging
import shlex
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, web
from aiohttp.typedefs import Handler, Middleware
from textual_serve.app_service import AppService
from textual_serve.server import Server

from fleet.errors import UsageError
from fleet.subjects import shown

PAGE: Final = Path(__file__).parent / "page"
FILES: Final = {"/": "index.html", "/page.js": "page.js", "/page.css": "page.css"}
# Each view is a process of its own, which reads the fleet by itself.
MOST_VIEWS: Final = 8
# A browser sends keys and sizes.
MOST_BYTES: Final = 1 << 16
MOST_CELLS: Final = 500
HEARTBEAT_S: Final = 15.0
STOP_S: Final = 3.0
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "font-src 'self'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")


class Process(AppService):
    """One view's process; it is gone when `stop` returns, whatever it does."""

    async def stop(self) -> None:
        """Ask it to end, and kill it if it does not."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await super().stop()
        process = self._process
        if process is None:
            return
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


class View(Server):
    """Serves one command's screen to browsers on this machine.

    command: what draws it; what is secret comes by the environment, for anybody may list processes.
    origins: under which addresses else browsers reach it, such as that of a proxy:
    `https://ops.example`.
    """

    def __init__(
        self, command: Sequence[str], *, host: str, port: int, origins: Collection[str] = ()
    ) -> None:
        # `exec`: no shell stays between us and the view, which so ends when we tell it to.
        super().__init__(f"exec {shlex.join(command)}", host=host, port=port, title="fleet top")
        self._elsewhere = frozenset(map(_origin, origins))
        self._origins: frozenset[str] = frozenset()
        self._hosts: frozenset[str] = frozenset()
        self._views = 0

    async def run(
        self, stop: Callable[[], Awaitable[object]], on_ready: Callable[[str], None]
    ) -> None:
        """Serve until `stop()` is over. Raises UsageError where the address cannot be had.

        on_ready: told the page's address.
        """
        runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, self.host, self.port).start()
            except OSError as error:
                raise UsageError(
                    f"cannot listen on {self.host}:{self.port} ({error}): choose another port, "
                    "such as --web 127.0.0.1:8091"
                ) from error
            self._known_as(int(runner.addresses[0][1]))
            on_ready(f"http://{self.host}:{self.port}")
            await stop()
        finally:
            await runner.cleanup()

    def _known_as(self, port: int) -> None:
        """Note which addresses are ours; before that nobody is answered."""
        self.port = port
        own = (f"http://{name}:{port}" for name in LOOPBACK_NAMES)
        self._origins = self._elsewhere.union(own)
        self._hosts = frozenset(urlsplit(origin).netloc for origin in self._origins)

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Give a browser a view of its own, for as long as it looks."""
        if request.headers.get("Origin") not in self._origins:
            raise web.HTTPForbidden(text="a page of another site may not look at this fleet\n")
        if self._views >= MOST_VIEWS:
            raise web.HTTPServiceUnavailable(text=f"there are {MOST_VIEWS} views already\n")
        self._views += 1
        try:
            return await self._show(request)
        finally:
            self._views -= 1

    async def _show(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=MOST_BYTES)
        await socket.prepare(request)

        async def close() -> None:
            await socket.close()

        view = Process(
            self.command,
            write_bytes=socket.send_bytes,
            write_str=socket.send_str,
            close=close,
            download_manager=self.download_manager,
        )
        await view.start(*(_cells(request.query.get(name)) for name in ("width", "height")))
        try:
            await self._process_messages(socket, view)
        except (AssertionError, AttributeError, LookupError, TypeError, ValueError):
            await socket.close(code=WSCloseCode.INVALID_TEXT)
        finally:
            await view.stop()
        return socket

    def _app(self) -> web.Application:
        """Put our own page before the library's terminal; its own asks a font service."""
        logging.getLogger("textual-serve").setLevel(logging.ERROR)
        app = web.Application(middlewares=[self._guard()])
        for path, name in FILES.items():
            app.router.add_get(path, _sends(PAGE / name))
        app.router.add_get("/ws", self.handle_websocket)
        app.router.add_static("/static", self.statics_path)
        return app

    def _guard(self) -> Middleware:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            # A name that somebody else lets point here would make their page one of ours.
            if request.host not in self._hosts:
                raise web.HTTPForbidden(text="not known under this name\n")
            answer = await handler(request)
            if not answer.prepared:
                answer.headers.update(HEADERS)
            return answer

        return guard


async def serve(
    command: Sequence[str],
    *,
    host: str,
    port: int,
    origins: Collection[str] = (),
    stop: Callable[[], Awaitable[object]],
    on_ready: Callable[[str], None],
) -> None:
    """Serve a command's screen on loopback; port: 0 takes a free one. Raises UsageError."""
    check_loopback(host)
    await View(command, host=host, port=port, origins=origins).run(stop, on_ready)


def check_loopback(host: str) -> None:
    """Refuse to be seen from elsewhere. Raises UsageError."""
    try:
        is_here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = False
    if not is_here:
        raise UsageError(
            f"--web {shown(host)} could be reached from elsewhere, and there is no login: serve on "
            "127.0.0.1, put an authenticating proxy in front, and name it with --web-origin"
        )


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path.strip("/"):
        raise UsageError(f"--web-origin {shown(text)} is no origin: write https://ops.example")
    return f"{parts.scheme}://{parts.netloc}"


def _cells(text: str | None) -> int:
    """Read how wide or high a browser says that it is."""
    is_number = text is not None and text.isascii() and text.isdecimal() and len(text) < 5
    return min(MOST_CELLS, int(text)) if text and is_number else 80


def _sends(path: Path) -> Handler:
    async def send(request: web.Request) -> web.StreamResponse:
        del request
        return web.FileResponse(path)

    return send
