"""A line to an S3 server on which requests meet their fates."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal
from urllib.parse import urlsplit

# pass: as without us. unsent: the line breaks before the server hears of it. unheard: the server
# does it, and its answer is lost. cut: half of the answer's body comes. silence: nothing comes, and
# the line stays open. A number: the answer of somebody who has only that to say.
Fate = Literal["pass", "unsent", "unheard", "cut", "silence"] | int
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CODES = {403: "AccessDenied", 412: "PreconditionFailed", 500: "InternalError", 503: "SlowDown"}


class Line:
    """Forwards one request a connection. fates: of the next requests; then `usual` for all."""

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream)
        self.fates: list[Fate] = []
        self.usual: Fate = "pass"
        self.requests: list[str] = []
        self.endpoint = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await _message(reader, writer)
            self.requests.append(request.split(b" ", 1)[0].decode())
            fate = self.fates.pop(0) if self.fates else self.usual
            match fate:
                case int():
                    writer.write(_refusal(fate))
                    await writer.drain()
                case "silence":
                    await reader.read()
                case "unsent":
                    pass
                case _:
                    answer = await self._forward(request)
                    if fate != "unheard":
                        head, _, body = answer.partition(b"\r\n\r\n")
                        body = body[: len(body) // 2] if fate == "cut" else body
                        writer.write(head + b"\r\nConnection: close\r\n\r\n" + body)
                        await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _forward(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        try:
            writer.write(request)
            await writer.drain()
            return await _message(reader, has_body=not request.startswith(b"HEAD"))
        finally:
            writer.close()


@asynccontextmanager
async def line_to(endpoint: str) -> AsyncIterator[Line]:
    line = Line(endpoint)
    server = await asyncio.start_server(line.serve, "127.0.0.1", 0)
    line.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield line
    finally:
        server.close()


async def _message(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter | None = None,
    *,
    has_body: bool = True,
) -> bytes:
    """Read a whole message; a sender who asks whether to go on is told to."""
    head = await reader.readuntil(b"\r\n\r\n")
    if writer is not None and b"100-continue" in head:
        head = re.sub(rb"\r\nExpect: 100-continue", b"", head, flags=re.IGNORECASE)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
    length = _LENGTH.search(head)
    if not has_body or length is None:
        return head
    return head + await reader.readexactly(int(length[1]))


def _refusal(status: int) -> bytes:
    body = f"<Error><Code>{_CODES[status]}</Code><Message>so it is</Message></Error>"
    return (
        f"HTTP/1.1 {status} So It Is\r\nContent-Type: application/xml\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
