"""A TCP line that a test can spoil: black hole, latency, little bandwidth, byte by byte."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

CHUNK = 64 * 1024


class Proxy:
    """Forwards bytes, with what is set at that moment.

    hole: nothing passes, and no end sees anything of it. delay_s: before every piece.
    bytes_per_s: 0 is as fast as it goes. piece: the most bytes at a time.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream)
        self._open = asyncio.Event()
        self._open.set()
        self._lines: set[asyncio.StreamWriter] = set()
        self.url = ""
        self.delay_s = 0.0
        self.bytes_per_s = 0.0
        self.piece = CHUNK

    def hole(self) -> None:
        """Let nothing through, with every line open."""
        self._open.clear()

    def heal(self) -> None:
        """Be an ordinary line again."""
        self.delay_s, self.bytes_per_s, self.piece = 0.0, 0.0, CHUNK
        self._open.set()

    def cut(self) -> None:
        """Break the lines that are open; new ones work."""
        for line in self._lines:
            line.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(
                self._upstream.hostname, self._upstream.port
            )
        except OSError:
            writer.transport.abort()
            return
        self._lines |= {writer, back}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, back))
                group.create_task(self._pump(there, writer))
        finally:
            self._lines -= {writer, back}

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while piece := await source.read(self.piece):
                await self._open.wait()
                wait_s = self.delay_s + (len(piece) / self.bytes_per_s if self.bytes_per_s else 0)
                if wait_s:
                    await asyncio.sleep(wait_s)
                sink.write(piece)
                await sink.drain()
        except OSError:
            pass  # one side went away: so does the other
        finally:
            sink.transport.abort()


@asynccontextmanager
async def proxied(upstream: str) -> AsyncIterator[Proxy]:
    """Run a proxy in front of a broker until the body ends."""
    proxy = Proxy(upstream)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    proxy.url = f"nats://127.0.0.1:{port}"
    try:
        yield proxy
    finally:
        proxy.heal()
        server.close()
        proxy.cut()
        await server.wait_closed()
