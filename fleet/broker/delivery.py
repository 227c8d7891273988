"""One job in our hands, and what we may say of it to the server."""

from typing import Final, NamedTuple, Protocol

import msgspec

from fleet.broker.headers import whole
from fleet.broker.message import ACK_PREFIX, Message

_NS: Final = 1_000_000_000
# The reason is for people who read advisories; a line is enough.
_MAX_REASON: Final = 200
# Stream, durable, deliveries, two sequences, nanoseconds, pending.
_SHORT: Final = 7


class Sender(Protocol):
    """The two ways in which a delivery speaks."""

    async def publish(self, subject: str, payload: bytes = b"") -> None:
        """Send and forget."""

    async def request(self, subject: str, payload: bytes = b"", *, wait_s: float = 5.0) -> Message:
        """Send and wait for the answer."""


class Place(NamedTuple):
    """What the reply subject of a delivery says."""

    stream: str
    durable: str
    number: int
    sequence: int
    published_ns: int
    pending: int


class Delivery(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A message of a work queue, handed to us until its ack wait runs out.

    headers: the first value of each name, none if the block was malformed. sequence: in the stream.
    number: how often it was delivered, this time included. published_at: seconds since the epoch,
    by the server's clock. pending: jobs that wait behind it. reply: the subject of its acks.
    """

    sender: Sender
    subject: str
    headers: dict[str, str]
    payload: bytes
    malformed: bool
    headers_bytes: int
    stream: str
    sequence: int
    number: int
    published_at: float
    pending: int
    reply: str

    def __repr__(self) -> str:
        """Show no payload: prompts belong in no log."""
        return f"Delivery({self.stream} {self.sequence}, number {self.number}, {self.subject!r})"

    async def ack(self, *, wait_s: float = 5.0) -> None:
        """Take the job off the queue; returns when the server has done it.

        Proves nothing about who worked on it: the server takes an ack that comes too late, too.
        Raises BrokerUnreachable when no confirmation comes, BrokerRefused.
        """
        await self.sender.request(self.reply, b"+ACK", wait_s=wait_s)

    async def nak(self, delay_s: float = 0.0) -> None:
        """Give the job back; it is delivered again at once, or after `delay_s` seconds."""
        delay = b' {"delay": %d}' % round(delay_s * _NS) if delay_s > 0 else b""
        await self.sender.publish(self.reply, b"-NAK" + delay)

    async def term(self, reason: str) -> None:
        """Take the job off the queue as hopeless; the reason goes into the server's advisory."""
        line = " ".join(reason.split())[:_MAX_REASON]
        await self.sender.publish(self.reply, f"+TERM {line}".encode())

    async def extend(self) -> None:
        """Begin a new ack wait from now."""
        await self.sender.publish(self.reply, b"+WPI")


def read_place(reply: str) -> Place | None:
    """Read `$JS.ACK.[<domain>.<account>.]<stream>.<durable>.<numbers>`; None for anything else.

    The long form may have a random token at its end.
    """
    if not reply.startswith(ACK_PREFIX):
        return None
    tokens = reply.removeprefix(ACK_PREFIX).split(".")
    start = 0 if len(tokens) == _SHORT else 2
    match [*tokens[start : start + 2], *map(whole, tokens[start + 2 : start + _SHORT])]:
        case [
            str(stream), str(durable),
            int(number), int(sequence), int(), int(published_ns), int(pending),
        ]:  # fmt: skip
            return Place(stream, durable, number, sequence, published_ns, pending)
        case _:
            return None


def read_delivery(sender: Sender, message: Message) -> Delivery | None:
    """Turn a message into a delivery; None if it is no message of a stream."""
    place = read_place(message.reply)
    if place is None:
        return None
    return Delivery(
        sender=sender,
        subject=message.subject,
        headers=message.headers,
        payload=message.payload,
        malformed=message.malformed,
        headers_bytes=message.headers_bytes,
        stream=place.stream,
        sequence=place.sequence,
        number=place.number,
        published_at=place.published_ns / _NS,
        pending=place.pending,
        reply=message.reply,
    )
