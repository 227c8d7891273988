"""Reading what a stream stores, by Direct Get: no consumer, no state at the server."""

import asyncio
from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from fleet.broker.answers import read_answer
from fleet.broker.connection import Connection, Message
from fleet.broker.headers import whole
from fleet.errors import BrokerRefused, BrokerUnreachable, UsageError
from fleet.job import MIB
from fleet.subjects import shown

# A page fits well into the server's pending limit for one client (64 MiB), and into our memory.
PAGE_MESSAGES: Final = 256
PAGE_BYTES: Final = 4 * MIB
# How long the server may be silent within a page; a slow line is no silence.
SILENCE_S: Final = 5.0

# The server counts in 64 bits, and refuses what is no such number.
_LAST_PLACE: Final = 2**64 - 1
_END_OF_PAGE, _FORBIDDEN, _NOT_FOUND, _NO_RESPONDERS = "204", "403", "404", "503"


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """One stored message. written_at: seconds since the epoch, by the server's clock."""

    subject: str
    sequence: int
    written_at: float
    headers: dict[str, str]
    payload: bytes


async def last_message(connection: Connection, stream: str, subject: str) -> Stored | None:
    """Read the newest message of one subject, or None. One round trip.

    The subject is part of the request's own subject, so a permission can narrow it to a tenant.
    Raises UsageError for wildcards, BrokerRefused, BrokerUnreachable.
    """
    check_literal(subject)
    reply = await connection.request(f"$JS.API.DIRECT.GET.{stream}.{subject}")
    if reply.status == _NOT_FOUND:
        return None
    if reply.status is not None:
        raise _refused(stream, reply)
    return _stored(reply, stream)


async def message_at(connection: Connection, stream: str, sequence: int) -> Stored | None:
    """Read the message at a place of a stream, or None. Raises BrokerRefused, BrokerUnreachable.

    sequence: may be foreign. Where no stream has a place there is nothing, and nothing is asked.
    """
    if not 0 < sequence <= _LAST_PLACE:
        return None
    query = msgspec.json.encode({"seq": sequence})
    reply = await connection.request(f"$JS.API.DIRECT.GET.{stream}", query)
    if reply.status == _NOT_FOUND:
        return None
    if reply.status is not None:
        raise _refused(stream, reply)
    return _stored(reply, stream)


async def last_messages(
    connection: Connection, stream: str, subjects: Collection[str]
) -> dict[str, Stored]:
    """Read the newest messages of several subjects, as few as there are. One round trip a page.

    Needs the right to ask for any subject of the stream. Raises as `last_message` does, and
    BrokerUnreachable when a page does not arrive whole.
    """
    for subject in subjects:
        check_literal(subject)
    found: dict[str, Stored] = {}
    more = True
    while more:
        wanted = [subject for subject in subjects if subject not in found]
        page, more = await _page(connection, stream, {"multi_last": wanted})
        found |= {message.subject: message for message in page}
    return found


async def messages(
    connection: Connection, stream: str, subject: str, *, after: int = 0, since: float | None = None
) -> AsyncIterator[Stored]:
    """Yield what is stored on `subject` (wildcards allowed) behind sequence `after`, then end.

    since: only what was stored from then on, in seconds since the epoch; `after` is 0 then. Raises
    BrokerRefused, and BrokerUnreachable when a page does not arrive whole.
    """
    more = True
    while more:
        page, more = await _page(connection, stream, _from(subject, after=after, since=since))
        for message in page:
            yield message
            after = message.sequence


async def messages_behind(connection: Connection, stream: str, subject: str, sequence: int) -> int:
    """Count what is stored on `subject` behind a sequence; one message is read for it at most."""
    _, count = await first_behind(connection, stream, subject, sequence)
    return count


async def first_behind(
    connection: Connection,
    stream: str,
    subject: str,
    sequence: int = 0,
    *,
    since: float | None = None,
) -> tuple[Stored | None, int]:
    """Read the first message on `subject` behind a sequence, and count all that are there.

    since: instead, from what was stored then on, in seconds since the epoch.
    """
    query = {"batch": 1, **_from(subject, after=sequence, since=since)}
    page, left = await read_page(connection, stream, query)
    return (page[0] if page else None), len(page) + left


def _from(subject: str, *, after: int, since: float | None) -> dict[str, Any]:
    """Ask for what is behind a sequence, or for what was stored since; a sequence goes before."""
    if since is None or after:
        return {"seq": after + 1, "next_by_subj": subject}
    start = datetime.fromtimestamp(since, UTC).isoformat()
    return {"start_time": start, "next_by_subj": subject}


async def _page(
    connection: Connection, stream: str, query: dict[str, Any]
) -> tuple[list[Stored], bool]:
    """Read one page of what the query finds; the flag says whether more is stored behind it."""
    page, left = await read_page(connection, stream, query)
    return page, left > 0


async def read_page(
    connection: Connection, stream: str, query: dict[str, Any]
) -> tuple[list[Stored], int]:
    """Read what one Direct Get brings, and how many messages are stored behind it.

    Raises BrokerRefused, and BrokerUnreachable when the page does not arrive whole.
    """
    arrived: asyncio.Queue[Message] = asyncio.Queue()
    inbox = connection.new_inbox()
    query = {"batch": PAGE_MESSAGES, **query, "max_bytes": PAGE_BYTES}
    page: list[Stored] = []
    asked = f"$JS.API.DIRECT.GET.{stream}"

    def denied(text: str) -> None:
        if f'"{asked}"' in text:
            arrived.put_nowait(Message(asked, "", {}, b"", _FORBIDDEN, text))

    forget = connection.on_denied(denied)
    subscription = await connection.subscribe(inbox, arrived.put_nowait)
    try:
        await connection.publish(asked, msgspec.json.encode(query), reply=inbox)
        while (reply := await _next(arrived, stream)).status is None:
            _check_gap(reply, page, stream)
            page.append(_stored(reply, stream))
    finally:
        forget()
        await subscription.unsubscribe()
    if reply.status == _NOT_FOUND:
        return page, 0
    if reply.status != _END_OF_PAGE:
        raise _refused(stream, reply)
    _check_gap(reply, page, stream)
    left = whole(reply.headers.get("Nats-Num-Pending", ""))
    if left is None:
        raise _no_stream(stream)
    return page, left


async def _next(arrived: asyncio.Queue[Message], stream: str) -> Message:
    try:
        async with asyncio.timeout(SILENCE_S):
            reply = await arrived.get()
    except TimeoutError as error:
        raise BrokerUnreachable(
            f"reading from {stream} stopped in the middle: check the connection and the right to "
            "use $JS.API.DIRECT.GET, then read again"
        ) from error
    if reply.status is None and "Nats-Sequence" not in reply.headers:
        # Not the stream, but who stands before it and looks at what a tenant asks.
        read_answer(f"a read of {stream}", reply.payload)
        raise _no_stream(stream)
    return reply


def check_literal(subject: str) -> None:
    """Raise UsageError for a subject with a wildcard."""
    if "*" in subject or ">" in subject:
        raise UsageError(f"subject {shown(subject)} has a wildcard: name one subject")


def _check_gap(reply: Message, page: list[Stored], stream: str) -> None:
    """Compare what the server says it sent before with what came: a full buffer loses messages."""
    before = page[-1].sequence if page else 0
    if whole(reply.headers.get("Nats-Last-Sequence", "")) != before:
        raise BrokerUnreachable(f"a part of {stream} got lost on its way to us: read again")


def _stored(reply: Message, stream: str) -> Stored:
    try:
        return Stored(
            subject=reply.headers["Nats-Subject"],
            sequence=int(reply.headers["Nats-Sequence"]),
            written_at=datetime.fromisoformat(reply.headers["Nats-Time-Stamp"]).timestamp(),
            headers=reply.headers,
            payload=reply.payload,
        )
    except (KeyError, ValueError) as error:
        raise _no_stream(stream) from error


def _no_stream(stream: str) -> BrokerRefused:
    return BrokerRefused(f"what answers for {stream} is no stream: run `fleet doctor`")


def _refused(stream: str, reply: Message) -> BrokerRefused:
    if reply.status == _NO_RESPONDERS:
        return BrokerRefused(
            f"stream {stream} does not exist or is down: run `fleet init`; what tenants read needs "
            "a `fleet sweep --every`, too"
        )
    return BrokerRefused(f"reading from {stream} was refused: {reply.status} {reply.description}")
