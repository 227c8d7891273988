"""The connection to NATS: the one place that builds a client, and what the rest may ask of it."""

import asyncio
import itertools
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NoReturn

import msgspec
from nats import errors

from fleet.broker.answers import (
    ApiError,
    Receipt,
    no_stream_takes,
    nobody_listens,
    read_answer,
    read_receipt,
)
from fleet.broker.beside import Beside
from fleet.broker.client import HardenedClient, Receive
from fleet.broker.context import Target
from fleet.broker.dial import close_client, open_client, wants_tls, watch
from fleet.broker.headers import encode_headers
from fleet.broker.message import Message
from fleet.broker.subscription import Subscription
from fleet.errors import BrokerRefused, BrokerUnreachable, ConnectionLost, UsageError
from fleet.subjects import shown

__all__ = ["ApiError", "Connection", "Message", "Receipt", "Subscription", "connect"]

NO_RESPONDERS: Final = "503"
_QUOTED: Final = re.compile('"([^"]*)"')

log = logging.getLogger(__name__)


class Connection:
    """A connection that comes back by itself. Made by `connect`; for one event loop."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._client = HardenedClient(self._denied, wants_tls=wants_tls(target))
        self._waiting: dict[str, tuple[str, asyncio.Future[Message]]] = {}
        self._numbers = itertools.count(1)
        self._inbox = ""
        # Why no answer can reach us, if so.
        self._deaf: str | None = None
        self._up = asyncio.Event()
        self._closed = asyncio.Event()
        self._on_reconnect: list[Callable[[], None]] = []
        self._on_denied: list[Callable[[str], None]] = []

    @property
    def connected(self) -> bool:
        """Whether the connection is up, as far as we know."""
        return self._client.is_connected

    @property
    def max_payload(self) -> int:
        """Bytes of one message, payload and headers together."""
        return self._client.max_payload

    @property
    def server_version(self) -> str:
        """The version of the server, such as 2.15.1."""
        return str(self._client._server_info.get("version", "0"))  # noqa: SLF001 - no public name

    @property
    def address(self) -> str:
        """The servers, without credentials."""
        return self._target.address

    def new_inbox(self) -> str:
        """Return a subject that nobody else uses."""
        return self._client.new_inbox()

    def on_reconnect(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after every reconnect; returns the function that ends it."""
        self._on_reconnect.append(callback)
        return lambda: self._on_reconnect.remove(callback)

    def on_denied(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call back with the server's text when it forbids a subject; returns what ends it."""
        self._on_denied.append(callback)
        return lambda: self._on_denied.remove(callback)

    async def closed(self) -> NoReturn:
        """Wait until the connection is closed for good. Raises ConnectionLost then."""
        await self._closed.wait()
        self._raise_closed()

    async def up(self) -> None:
        """Wait until the connection is up. Raises ConnectionLost when it never will be."""
        await self._up.wait()
        if self._closed.is_set():
            self._raise_closed()

    async def publish(
        self,
        subject: str,
        payload: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        reply: str = "",
        status: str = "",
    ) -> None:
        """Send a message; while the connection is down it is buffered, up to 2 MiB.

        Where more waits for a server that takes nothing, it returns after 5 s all the same.

        status: three digits in place of a message, as a server says that a page ends. Raises
        UsageError for a subject, header or size that cannot be sent, BrokerUnreachable when the
        buffer is full, ConnectionLost. A lack of permission is only logged: use `request`.
        """
        block = encode_headers(headers or {}, status=status)
        self._measure(subject, len(payload) + len(block))
        try:
            await self._client.send(subject, payload, reply, block)
        except errors.ConnectionClosedError:
            self._raise_closed()
        except errors.BadSubjectError as error:
            raise UsageError(f"{shown(subject)} cannot be sent: {error}") from error
        except (errors.Error, OSError) as error:
            raise BrokerUnreachable(
                f"{self.address} is unreachable ({error}), and {shown(subject)} was not sent: "
                "try again when the connection is back"
            ) from error

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        wait_s: float = 5.0,
    ) -> Message:
        """Send a message and return the answer, at most `wait_s` seconds later.

        Raises BrokerUnreachable when none comes, BrokerRefused when nothing listens or the server
        forbids it, and as `publish`.
        """
        reply = await self._ask(subject, payload, headers, wait_s)
        if reply.status == NO_RESPONDERS:
            raise nobody_listens(subject)
        return reply

    async def append(
        self,
        subject: str,
        payload: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        wait_s: float = 5.0,
    ) -> Receipt:
        """Store a message in the stream that takes its subject; returns once the server has it.

        Raises ApiError when JetStream refuses, BrokerUnreachable when no answer came: it may be
        stored or not then. And as `request`.
        """
        reply = await self._ask(subject, payload, headers, wait_s)
        if reply.status == NO_RESPONDERS:
            raise no_stream_takes(subject)
        return read_receipt(subject, reply.payload)

    async def api(self, name: str, body: object | None = None) -> dict[str, Any]:
        """Ask `$JS.API.<name>` and return its answer. Raises ApiError, and as `request`."""
        subject = f"$JS.API.{name}"
        reply = await self.request(subject, b"" if body is None else msgspec.json.encode(body))
        return read_answer(name, reply.payload)

    async def subscribe(self, subject: str, callback: Receive, *, queue: str = "") -> Subscription:
        """Call `callback` with every message; it must not block, and what it raises ends `connect`.

        Raises UsageError for a subject that is none, ConnectionLost.
        """
        try:
            return Subscription(self._client, await self._client.listen(subject, queue, callback))
        except errors.ConnectionClosedError:
            self._raise_closed()
        except errors.Error as error:
            raise UsageError(f"{shown(subject)} cannot be subscribed to: {error}") from error

    async def _ask(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None, wait_s: float
    ) -> Message:
        if self._deaf is not None:
            raise _forbidden(subject, self._deaf)
        reply = f"{self._inbox}.{next(self._numbers)}"
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[reply] = (subject, answer)
        try:
            async with asyncio.timeout(wait_s):
                await self.publish(subject, payload, headers=headers, reply=reply)
                return await answer
        except TimeoutError as error:
            state = "" if self.connected else ", the connection is down"
            raise BrokerUnreachable(
                f"no answer to {shown(subject)} from {self.address} within {wait_s:g} s{state}: "
                "check the server, then try again"
            ) from error
        finally:
            del self._waiting[reply]

    def _answered(self, message: Message) -> None:
        _, answer = self._waiting.get(message.subject, (None, None))
        if answer is not None and not answer.done():
            answer.set_result(message)

    def _measure(self, subject: str, size: int) -> None:
        """Refuse what is too large. The server would cut the connection instead of an answer."""
        if size > self.max_payload:
            raise UsageError(
                f"the message to {shown(subject)} has {size} bytes with its headers, over the "
                f"server's limit of {self.max_payload}: send less, or put it into a store"
            )

    def _denied(self, text: str) -> None:
        log.warning("nats: forbidden", extra={"error": text})
        named = set(_QUOTED.findall(text))
        if f"{self._inbox}.*" in named:
            self._deaf = text
        for reply, (subject, answer) in self._waiting.items():
            if not answer.done() and (self._deaf or {subject, reply} & named):
                answer.set_exception(_forbidden(subject, text))
        for callback in tuple(self._on_denied):
            callback(text)

    def _raise_closed(self) -> NoReturn:
        raise ConnectionLost(
            f"the connection to {self.address} is closed for good: start the process again"
        )

    async def _went_down(self) -> None:
        self._up.clear()
        self._deaf = None
        if not self._client.is_closed:
            log.warning("nats: connection lost", extra={"server": self.address})

    async def _came_up(self) -> None:
        log.warning("nats: connected again", extra={"server": self.address})
        self._client.refusals = 0
        self._up.set()
        for callback in tuple(self._on_reconnect):
            callback()

    async def _ended(self) -> None:
        self._closed.set()
        self._up.set()
        for _, answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(
                    ConnectionLost(f"the connection to {self.address} was closed before an answer")
                )

    async def _open(self, name: str, wait_s: float) -> None:
        await open_client(
            self._client,
            self._target,
            name=name,
            wait_s=wait_s,
            on_down=self._went_down,
            on_up=self._came_up,
            on_closed=self._ended,
        )
        self._inbox = self.new_inbox()
        await self.subscribe(f"{self._inbox}.*", self._answered)
        self._up.set()


@asynccontextmanager
async def connect(target: Target, *, name: str, wait_s: float = 10.0) -> AsyncIterator[Connection]:
    """Connect, and close when the body ends; `name` is shown in the server's monitoring.

    Raises BrokerUnreachable when no server answers within `wait_s`, BrokerRefused when it refuses
    the credentials, UsageError for files that cannot be used.
    """
    connection = Connection(target)
    client = connection._client  # noqa: SLF001 - its other half
    try:
        await connection._open(name, wait_s)  # noqa: SLF001
        async with Beside(watch(client)):
            yield connection
    finally:
        await close_client(client)


def _forbidden(subject: str, text: str) -> BrokerRefused:
    return BrokerRefused(
        f"{shown(subject)} is forbidden ({text}): ask for the permission, or use other credentials"
    )
