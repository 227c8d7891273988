"""What can be asked of a broker, and who may: the table that is tested and documented."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple, TypeAlias

from fleet.broker.connection import Connection, Message
from fleet.broker.stored import last_message
from fleet.errors import BrokerRefused
from tests.tenants import encoded

OPERATOR, MANAGER, SWEEP, SYSTEM = "@operator", "@manager", "@sweep", "@system"
WORKERS = ("@on-demand", "@spot")
WATCHERS = ("@dashboard", "@metrics")
FLEET = (OPERATOR, MANAGER, SWEEP, *WORKERS)
ALL_TENANTS = ("acme", "beta", "narrow")
HEARD_S = 30.0
# The server answers a question of this body with an error, once it may be asked.
NONSENSE = b"!"
# What nobody may publish or hear; the refusal comes behind that of anything sent before.
BARRIER = "nobody.may"

Try: TypeAlias = Callable[[Connection, Connection], Awaitable[None]]


class Call(NamedTuple):
    """One thing to try. make: raises BrokerRefused where it is refused. may: all who are let."""

    what: str
    make: Try
    may: tuple[str, ...]


class Denials:
    """What the server has refused on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._texts: list[str] = []
        self._forget = connection.on_denied(self._texts.append)

    async def check(self) -> None:
        """Wait for the server to catch up. Raises BrokerRefused if it refused anything before."""
        with suppress(BrokerRefused):
            await self._connection.request(BARRIER)
        self._forget()
        if refused := [text for text in self._texts if BARRIER not in text]:
            raise BrokerRefused(refused[0])


def store(subject: str, payload: bytes = b"{}") -> Try:
    async def make(connection: Connection, operator: Connection) -> None:
        await connection.append(subject, payload)

    return make


def answered(subject: str) -> Try:
    async def make(connection: Connection, operator: Connection) -> None:
        assert (await connection.request(subject)).payload

    return make


def ask(name: str, body: bytes = b"") -> Try:
    """Ask the API: an error of JetStream's is an answer too."""

    async def make(connection: Connection, operator: Connection) -> None:
        reply = await connection.request(f"$JS.API.{name}", body)
        assert reply.payload or reply.status, name

    return make


def send(subject: str, payload: bytes) -> Try:
    """Send what has no answer."""

    async def make(connection: Connection, operator: Connection) -> None:
        denials = Denials(connection)
        await connection.publish(subject, payload)
        await denials.check()

    return make


def read(stream: str, subject: str) -> Try:
    async def make(connection: Connection, operator: Connection) -> None:
        found = await last_message(connection, stream, subject)
        assert found is not None, subject

    return make


def read_all(stream: str, subject: str) -> Try:
    """Ask for several messages, in the body of a question."""

    async def make(connection: Connection, operator: Connection) -> None:
        arrived: asyncio.Queue[Message] = asyncio.Queue()
        denials = Denials(connection)
        inbox = connection.new_inbox()
        subscription = await connection.subscribe(inbox, arrived.put_nowait)
        question = encoded({"next_by_subj": subject, "seq": 1, "batch": 10})
        try:
            await connection.publish(f"$JS.API.DIRECT.GET.{stream}", question, reply=inbox)
            await denials.check()
            async with asyncio.timeout(HEARD_S):
                found = await arrived.get()
        finally:
            await subscription.unsubscribe()
        assert found.status is None, subject
        if "Nats-Subject" not in found.headers:
            raise BrokerRefused(found.payload.decode())

    return make


def pull(stream: str, durable: str) -> Try:
    """Ask for a job; that there is none is an answer too."""

    async def make(connection: Connection, operator: Connection) -> None:
        arrived: asyncio.Queue[Message] = asyncio.Queue()
        denials = Denials(connection)
        inbox = connection.new_inbox()
        subscription = await connection.subscribe(inbox, arrived.put_nowait)
        try:
            to = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
            await connection.publish(to, encoded({"batch": 1, "no_wait": True}), reply=inbox)
            await denials.check()
            async with asyncio.timeout(HEARD_S):
                await arrived.get()
        finally:
            await subscription.unsubscribe()

    return make


def hear(pattern: str, subject: str) -> Try:
    """Listen, and be told by the operator."""

    async def make(connection: Connection, operator: Connection) -> None:
        heard = asyncio.Event()
        denials = Denials(connection)
        subscription = await connection.subscribe(pattern, lambda _: heard.set())
        try:
            await denials.check()
            await operator.publish(subject, encoded({"said": True}))
            async with asyncio.timeout(HEARD_S):
                await heard.wait()
        finally:
            await subscription.unsubscribe()

    return make
