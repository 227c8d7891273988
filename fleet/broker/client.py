"""nats-py's client, hardened: no message can end it, deafen it or mislead it."""

import asyncio
import logging
import random
import re
from collections.abc import Callable
from ssl import SSLContext
from typing import Any, Final, cast
from urllib.parse import ParseResult

from nats import errors
from nats.aio.client import Client, Server, Srv
from nats.aio.subscription import Subscription as LibrarySubscription
from nats.aio.transport import TcpTransport

from fleet.broker.message import Message, read_message
from fleet.broker.parser import HardenedParser

Receive = Callable[[Message], None]

# Would end the subject or the line, and begin a command of its sender's making.
_SPACE: Final = re.compile(r"[ \t\r\n]")
_MAX_DELAY_S: Final = 2.0
_FAREWELL_S: Final = 1.0

log = logging.getLogger(__name__)


class HardenedClient(Client):
    """Connects, reconnects and pings as the library does; reads with a parser of its own.

    denied: called with the server's text when it refuses a subject. failure: set when a receiver
    raises. refusals: how often in a row the server refused our credentials.
    """

    def __init__(self, denied: Callable[[str], None], *, wants_tls: bool) -> None:
        super().__init__()
        self._ps = HardenedParser(self)
        self._denied = denied
        self._wants_tls = wants_tls
        self._receivers: dict[int, Receive] = {}
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.refusals = 0

    async def send(self, subject: str, payload: bytes, reply: str, headers: bytes) -> None:
        """Publish, with a header block that is encoded already; raises as the library does.

        Its own `publish` takes three times as long, most of it for the headers.
        """
        if not subject or _SPACE.search(subject):
            raise errors.BadSubjectError
        if self.is_closed:
            raise errors.ConnectionClosedError
        size = len(headers) + len(payload)
        if not self.is_connected and self._pending_data_size + size > self._max_pending_size:
            raise errors.OutboundBufferLimitError
        sizes = f"{len(headers)} {size}" if headers else f"{size}"
        line = f"{'HPUB' if headers else 'PUB'} {subject} {reply} {sizes}\r\n"
        await self._send_command(b"%b%b%b\r\n" % (line.encode(), headers, payload))
        if self._flush_queue is not None and self._flush_queue.empty():
            await self._flush_pending()

    async def listen(self, subject: str, queue: str, receive: Receive) -> LibrarySubscription:
        """Subscribe; `receive` is called in the read loop, so it must be quick."""
        # Known beforehand, for a message may come before `subscribe` returns.
        sid = self._sid + 1
        self._receivers[sid] = receive
        try:
            return await self.subscribe(subject, queue=queue)
        except errors.Error:
            del self._receivers[sid]
            raise

    async def ignore(self, subscription: LibrarySubscription) -> None:
        """Unsubscribe; what comes from now on is dropped."""
        self._receivers.pop(subscription._id, None)
        if not (self.is_closed or subscription._closed):
            await subscription.unsubscribe()

    async def finish(self, subscription: LibrarySubscription) -> None:
        """Unsubscribe, but receive what is on its way already; one round trip."""
        try:
            if self.is_connected:
                await self._send_unsubscribe(subscription._id)
                await self.flush()
        finally:
            await self.ignore(subscription)

    async def close(self) -> None:
        """Close for good. What is not sent by then is lost."""
        if not self.is_connected:
            # The library would write it to the transport of the connection that is gone, which
            # some event loops refuse.
            self._pending, self._pending_data_size = [], 0
        try:
            await super().close()
        finally:
            if isinstance(self._transport, _Transport):
                self._transport.abort()

    async def flush(self, timeout: int = 10) -> None:  # noqa: ASYNC109 - the library's own
        """Wait until the server has taken all that was sent; raises as the library does."""
        # `wait_for`, which the library uses, forgets a cancellation that comes together with the
        # answer (Python 3.11), and whoever was told to end would go on.
        before = cancellations()
        await super().flush(timeout)
        if cancellations() > before:
            raise asyncio.CancelledError

    async def _flush_pending(self, force_flush: bool = False) -> Any:
        # The library swallows a cancellation here, time-outs too, and so whoever waited for a
        # server that takes nothing would go on waiting for its answer, for ever.
        before = cancellations()
        flushed = await super()._flush_pending(force_flush)
        if cancellations() > before:
            raise asyncio.CancelledError
        return flushed

    @property
    def is_new(self) -> bool:
        """Whether nothing was opened yet, so that nothing can be closed."""
        return self._flush_queue is None

    @property
    def is_deaf(self) -> bool:
        """Whether a task that reads, writes or pings has ended under a living connection."""
        tasks = (self._reading_task, self._flusher_task, self._ping_interval_task)
        return self.is_connected and any(task is None or task.done() for task in tasks)

    @property
    def is_stuck(self) -> bool:
        """Whether the connection is down and nobody is trying to bring it up again."""
        task = self._reconnection_task
        return not (self.is_connected or self.is_closed) and (task is None or task.done())

    async def _connect_to_server(self, s: Srv) -> None:
        # The library leaves behind what belonged to a connection that came to nothing: the
        # connection itself, and tasks that would read and ping the next one.
        for task in (self._reading_task, self._flusher_task, self._ping_interval_task):
            if task is not None:
                task.cancel()
        if self._transport is None:
            self._transport = _Transport()  # type: ignore[no-untyped-call]  # nats-py's
        else:
            self._transport.close()  # type: ignore[no-untyped-call]  # nats-py's
        await super()._connect_to_server(s)

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        receive = self._receivers.get(sid)
        if receive is None:
            return
        try:
            receive(read_message(subject, reply, data, headers))
        except Exception as error:  # noqa: BLE001 - raised again where the connection is held
            if not self.failure.done():
                self.failure.set_exception(error)

    async def _process_err(self, err_msg: str) -> None:
        # The server itself ends the connection after those errors that are fatal. The library would
        # also close it for good, and after any other.
        if "permissions violation" in err_msg.lower():
            self._denied(err_msg.strip("'"))
        else:
            await self._error_cb(errors.Error(err_msg.strip("'")))

    async def _process_pong(self) -> None:
        # The library sets the result of a flush that was cancelled, which ends its read loop.
        if self._pongs and self._pongs[0].done():
            del self._pongs[0]
            self._pings_outstanding = 0
        else:
            await super()._process_pong()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        # Called before we send our credentials. The library sends them in the clear if the server,
        # or someone in between, says that it needs no TLS.
        if initial_connection and self._wants_tls:
            if not (info.get("tls_required") or info.get("tls_available")):
                raise errors.SecureConnWantedError
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)


class _Transport(TcpTransport):
    """Is encrypted as the library's is, and ends when told to.

    The library's waits for ever to send what is left to a server that takes nothing, and half a
    minute for the farewell of one that is gone. It reads by a protocol that does not know of the
    encryption, so that asyncio warns at every end.
    """

    def __bool__(self) -> bool:
        """Be there before the first connection, or the library takes one of its own."""
        return True

    async def wait_closed(self) -> None:
        try:
            async with asyncio.timeout(_FAREWELL_S):
                await super().wait_closed()  # type: ignore[no-untyped-call]  # nats-py's
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        """End at once; what is not sent is lost."""
        if self._io_writer is not None:
            self._io_writer.transport.abort()

    async def connect_tls(
        self,
        uri: str | ParseResult,
        ssl_context: SSLContext,
        buffer_size: int,
        connect_timeout: int,
    ) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=buffer_size)
        protocol = asyncio.StreamReaderProtocol(reader)
        plain = cast("asyncio.StreamWriter", self._io_writer).transport
        async with asyncio.timeout(connect_timeout):
            transport = await loop.start_tls(
                plain,
                protocol,
                ssl_context,
                server_hostname=uri if isinstance(uri, str) else uri.hostname,
                ssl_shutdown_timeout=_FAREWELL_S,
            )
        protocol.connection_made(cast("asyncio.Transport", transport))
        writer = asyncio.StreamWriter(cast("asyncio.Transport", transport), protocol, reader, loop)
        self._io_reader, self._io_writer = reader, writer


def cancellations() -> int:
    """Count how often this task was told to end, whoever forgot it since."""
    task = asyncio.current_task()
    return task.cancelling() if task else 0


def pick_server(servers: list[Server], _: dict[str, Any]) -> tuple[Server, float]:
    """Choose where to reconnect, and after how many seconds.

    At random, for a fleet loses its server in one moment and must not come back in one.
    """
    server = min(servers, key=lambda server: (server.reconnects, random.random()))
    return server, random.uniform(0.01, min(_MAX_DELAY_S, 0.1 * 2 ** min(server.reconnects, 8)))
