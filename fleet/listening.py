"""A small HTTP server for probes and numbers, in a thread: it answers while an event loop hangs.

It reads nothing but the path, so there is nothing to send it.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, NamedTuple, TypeAlias

from fleet.errors import UsageError
from fleet.subjects import plain

# A client that says nothing is not waited for.
SILENCE_S: Final = 5.0
TEXT: Final = "text/plain; charset=utf-8"


class Page(NamedTuple):
    """An answer."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = TEXT


Pages: TypeAlias = Mapping[str, Callable[[], Page]]


def verdict(trouble: str | None) -> Page:
    """Answer a probe: `ok`, or what is wrong with a status that says so."""
    if trouble is None:
        return Page(b"ok\n")
    return Page(f"{trouble}\n".encode(), HTTPStatus.SERVICE_UNAVAILABLE)


def address_of(text: str, *, what: str) -> tuple[str, int]:
    """Take `HOST:PORT` apart; without a host it is loopback. Raises UsageError."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdecimal()) or int(port) > 65_535:
        raise UsageError(f"{what} {plain(text)} is no address: write HOST:PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


@contextmanager
def listening(pages: Pages, *, host: str, port: int, remedy: str) -> Iterator[int]:
    """Answer GET of each path in `pages` while the body runs; yields the port.

    port: 0 takes a free one. remedy: what to do where the address cannot be had, which raises
    UsageError.
    """
    try:
        server = ThreadingHTTPServer((host, port), _handler(pages))
    except (OSError, OverflowError) as error:
        raise UsageError(f"cannot listen on {host}:{port} ({error}): {remedy}") from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="listening", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(SILENCE_S)


def _handler(pages: Pages) -> type[BaseHTTPRequestHandler]:
    there_are = f"there are {', '.join(pages)}\n".encode()

    class Handler(BaseHTTPRequestHandler):
        timeout = SILENCE_S
        server_version = "fleet"
        sys_version = ""

        def do_GET(self) -> None:
            make = pages.get(self.path.partition("?")[0])
            page = Page(there_are, HTTPStatus.NOT_FOUND) if make is None else make()
            self.send_response(page.status)
            self.send_header("Content-Type", page.content_type)
            self.send_header("Content-Length", str(len(page.body)))
            self.end_headers()
            self.wfile.write(page.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Probes come every few seconds and belong in no log."""

    return Handler
