"""Pulling jobs: our own puller, for the library's knows no priority groups and loses jobs."""

import asyncio
import itertools
import logging
import time
from collections import deque
from contextlib import AsyncExitStack, suppress
from functools import partial
from types import TracebackType
from typing import Final, Self

import msgspec

from fleet.broker.absence import Absence
from fleet.broker.connection import NO_RESPONDERS, Connection, Message, Subscription
from fleet.broker.delivery import Delivery, read_delivery
from fleet.broker.headers import whole
from fleet.errors import BrokerRefused, BrokerUnreachable, UsageError

__all__ = ["Delivery", "Puller"]

_NS: Final = 1_000_000_000
EXPIRES_S: Final = 5.0
HEARTBEAT_S: Final = 2.0
_HEARTBEAT, _EXPIRED = "100", "408"
# What no later request will change: the durable is not set up as we expect.
_HOPELESS: Final = ("Bad Request", "Consumer is push", "Exceeded MaxRequest")
# A request that was refused must not be followed by the next one at once.
PAUSE_S: Final = 1.0
# So long without a delivery, and the server has no more to send at this moment.
QUIET_S: Final = 0.02
# How late a heartbeat may be, beyond two intervals.
SLACK_S: Final = 0.5

log = logging.getLogger(__name__)


class _Request(msgspec.Struct):
    """A pull that the server has. heard_at: its last sign of life, on the monotonic clock."""

    count: int
    heard_at: float


class _Line(msgspec.Struct, eq=False):
    """An inbox and its subscription. A lost request dies with its line: nobody listens there."""

    inbox: str
    subscription: Subscription


class Puller:
    """`async with Puller(...) as puller`: ask for so many jobs, take them one by one.

    group, priority: of the durable's priority group; 0 is served first. expires_s: how long a
    request waits at the server; short, for a frozen process swallows what its requests attract.
    heartbeat_s: the server speaks at least so often while a request waits; at most half of it.
    `absence` says whether the durable is missing.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        stream: str,
        durable: str,
        group: str | None = None,
        priority: int | None = None,
        expires_s: float = EXPIRES_S,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        if heartbeat_s * 2 > expires_s:
            raise UsageError("heartbeat_s must be at most half of expires_s: change one of them")
        self._connection = connection
        self._name = f"durable {durable} of stream {stream}"
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._terms = {
            "expires": round(expires_s * _NS),
            "idle_heartbeat": round(heartbeat_s * _NS),
        }
        self._priority = {"group": group, "priority": priority}
        self._expires_s = expires_s
        self._heartbeat_s = heartbeat_s
        self._tokens = itertools.count(1)
        self._lines: list[_Line] = []
        self._requests: dict[str, _Request] = {}
        self._owed = 0
        self._arrived: deque[Delivery] = deque()
        self._happened = asyncio.Event()
        self._ended = self._lost = False
        self._asked_at: float | None = None
        self._not_before = 0.0
        self.absence = Absence(self._name)
        self._refusal: str | None = None
        self._stack = AsyncExitStack()

    @property
    def outstanding(self) -> int:
        """How many deliveries may still come out of `next`: asked for, or here and not taken."""
        # A request that was filled ends without a word, so the sum of what was asked is too much.
        asked = sum(request.count for request in self._requests.values())
        return len(self._arrived) + min(self._owed, asked)

    @property
    def silent_s(self) -> float:
        """For how long what was asked has got no word at all; 0 where nothing waits for one."""
        return 0.0 if self._asked_at is None else time.monotonic() - self._asked_at

    async def __aenter__(self) -> Self:
        self._stack.callback(self._connection.on_reconnect(self._forget))
        self._stack.callback(self._connection.on_denied(self._denied))
        await self._listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._end()

    async def ask(self, count: int) -> None:
        """Ask the server for `count` more messages; returns at once, as a rule.

        After a refusal it waits PAUSE_S seconds. While the connection is down it waits for that,
        at most `expires_s`, and then asks for nothing. Raises BrokerRefused, ConnectionLost.
        """
        if count <= 0:
            return
        self._check()
        await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
        with suppress(TimeoutError):
            async with asyncio.timeout(self._expires_s):
                await self._connection.up()
        if not self._connection.connected:
            return
        if self._lost:
            await self._renew()
        token = str(next(self._tokens))
        self._requests[token] = _Request(count, time.monotonic())
        self._asked_at = self._asked_at or time.monotonic()
        self._owed += count
        body = {"batch": count, **self._terms} | {
            name: value for name, value in self._priority.items() if value is not None
        }
        reply = f"{self._lines[-1].inbox}.{token}"
        try:
            await self._connection.publish(self._subject, msgspec.json.encode(body), reply=reply)
        except BrokerUnreachable:
            self._forget()

    async def next(self) -> Delivery | None:
        """Return the next delivery, or None when requests ended or were lost: ask again then.

        A durable that is missing is asked again until it is there. Raises BrokerRefused when it is
        forbidden, or set up so that no request of ours will ever be served.
        """
        while True:
            if (delivery := self._take()) is not None:
                return delivery
            self._check()
            self._forget_silent()
            if self._lost:
                await self._renew()
                return self._take()
            if not self.outstanding or self._ended:
                self._ended = False
                return None
            await self._wait()

    async def stop(self) -> list[Delivery]:
        """Pull no more and return what was delivered and not taken, to be given back."""
        await self._end()
        left, self._arrived = [*self._arrived], deque()
        return left

    def _take(self) -> Delivery | None:
        return self._arrived.popleft() if self._arrived else None

    async def _wait(self) -> None:
        """Wait until something happens, or a heartbeat may be overdue."""
        self._happened.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._heartbeat_s):
                await self._happened.wait()

    async def _end(self) -> None:
        await self._let_bursts_end()
        await self._stack.aclose()
        self._drop_requests()
        await self._drain_lines(keep=0)

    async def _let_bursts_end(self) -> None:
        """Wait while deliveries pour in, which ends with what we asked for at the latest.

        What a server is about to send when it learns that we have gone is lost, drain or not.
        """
        owed = self._owed + 1
        while 0 < self._owed < owed:
            owed = self._owed
            await asyncio.sleep(QUIET_S)

    async def _listen(self) -> None:
        inbox = self._connection.new_inbox()
        receive = partial(self._receive, inbox)
        self._lines.append(_Line(inbox, await self._connection.subscribe(f"{inbox}.*", receive)))

    async def _renew(self) -> None:
        """Take a new inbox, so that what we have forgotten can bring nothing any more."""
        self._lost = False
        self._drop_requests()
        await self._listen()
        await self._drain_lines(keep=1)

    async def _drain_lines(self, *, keep: int) -> None:
        # Unsubscribing would drop what is on its way to us, for a whole ack wait.
        while len(self._lines) > keep:
            await self._lines[0].subscription.drain()
            del self._lines[0]

    def _receive(self, inbox: str, message: Message) -> None:
        self._asked_at = None
        delivery = read_delivery(self._connection, message)
        current = bool(self._lines) and self._lines[-1].inbox == inbox
        if delivery is not None:
            self.absence.end()
            if current:
                self._book()
            self._arrived.append(delivery)
            self._happened.set()
        elif message.status is not None and current:
            self._hear(message.subject.rpartition(".")[2], message)

    def _book(self) -> None:
        """Count a delivery. It does not say which request brought it, so all of them are alive."""
        self._owed = max(0, self._owed - 1)
        if self._owed == 0:
            self._requests.clear()
        now = time.monotonic()
        for request in self._requests.values():
            request.heard_at = now

    def _hear(self, token: str, message: Message) -> None:
        """Act on what the server says of one request."""
        request = self._requests.get(token)
        if request is None:
            return
        if message.status == _HEARTBEAT:
            request.heard_at = time.monotonic()
            self.absence.end()
            return
        del self._requests[token]
        undelivered = whole(message.headers.get("Nats-Pending-Messages", ""))
        self._owed -= request.count if undelivered is None else undelivered
        self._owed = max(0, self._owed) if self._requests else 0
        self._ended = True
        self._happened.set()
        if message.status != _EXPIRED:
            self._refused(message)

    def _refused(self, message: Message) -> None:
        self._not_before = time.monotonic() + PAUSE_S
        cause = f"{message.status} {message.description}".strip()
        if message.status == NO_RESPONDERS or message.description == "Consumer Deleted":
            self.absence.begin()
            return
        log.warning("a pull was refused", extra={"durable": self._name, "cause": cause})
        if message.description.startswith(_HOPELESS):
            self._refusal = f"{self._name} takes no pulls of ours ({cause}): run `fleet doctor`"

    def _forget_silent(self) -> None:
        """Drop requests whose heartbeat is overdue; if that leaves none, all was lost."""
        silent = time.monotonic() - 2 * self._heartbeat_s - SLACK_S
        live = {token: one for token, one in self._requests.items() if one.heard_at >= silent}
        if self._requests and not live:
            log.warning("pulls were lost", extra={"count": self._owed})
            self._forget()
        self._requests = live

    def _forget(self) -> None:
        self._drop_requests()
        self._lost = True
        self._happened.set()

    def _drop_requests(self) -> None:
        self._requests.clear()
        self._owed = 0

    def _denied(self, text: str) -> None:
        if self._subject in text or any(line.inbox in text for line in self._lines):
            self._refusal = (
                f"pulling from {self._name} is forbidden ({text}): ask for the permission"
            )
            self._happened.set()

    def _check(self) -> None:
        if self._refusal is not None:
            raise BrokerRefused(self._refusal)
