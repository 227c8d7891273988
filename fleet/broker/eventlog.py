"""The stream EVENTS: a sink that never blocks the work, and a reader for ledger and timeline."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Self

import msgspec

from fleet.broker.connection import Connection
from fleet.broker.stored import messages
from fleet.broker.stream_state import stream_state
from fleet.errors import BrokerRefused, BrokerUnreachable, FleetError, UsageError
from fleet.events import AnyEvent
from fleet.subjects import EVENTS, event_subject
from fleet.wire import MSG_ID

# A node says a handful of things a second: this bridges an outage of many minutes.
CAPACITY: Final = 4096
RETRY_S: Final = 1.0
# A server that restarts refuses for a moment; one that refuses longer will go on refusing.
REFUSALS: Final = 10
FLUSH_S: Final = 5.0

log = logging.getLogger(__name__)
_decoder = msgspec.json.Decoder(AnyEvent)


class Recorded(msgspec.Struct, frozen=True):
    """An event and its place in the stream. written_at: by the server's clock."""

    sequence: int
    event: AnyEvent
    written_at: float


class EventLog:
    """`async with EventLog(connection) as log`: call `log.emit` and go on; order is kept.

    A full queue or a broker that refuses drops events, counted in `dropped`. Leaving the block
    writes what is queued, for at most FLUSH_S seconds. Call `emit` on the event loop's thread.
    """

    def __init__(self, connection: Connection, *, capacity: int = CAPACITY) -> None:
        self._connection = connection
        self._queue: asyncio.Queue[AnyEvent] = asyncio.Queue(capacity)
        self._group = asyncio.TaskGroup()
        self._unwritten = 0
        self.dropped = 0

    def emit(self, event: AnyEvent) -> None:
        """Queue an event; never blocks and never raises."""
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self.dropped += 1
        else:
            self._unwritten += 1

    async def read(self, after: int = 0, since: float | None = None) -> AsyncIterator[Recorded]:
        """Yield what is stored behind sequence `after`, then end; unknown kinds are left out.

        since: begin with what was stored then, in seconds since the epoch, where `after` is 0.
        """
        read = messages(self._connection, EVENTS, "events.>", after=after, since=since)
        async for stored in read:
            try:
                event = _decoder.decode(stored.payload)
            except (msgspec.MsgspecError, ValueError, RecursionError):
                continue
            yield Recorded(stored.sequence, event, stored.written_at)

    async def last(self) -> int:
        """Return the last sequence, to read only what comes behind it."""
        return (await stream_state(self._connection, EVENTS)).last_seq

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._writer = self._group.create_task(self._write(), name="event-log")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if not self._writer.done():  # it ends before us only if the connection is gone
                async with asyncio.timeout(FLUSH_S):
                    await self._queue.join()
        except TimeoutError:
            self.dropped += self._unwritten
            log.warning("events were not written before the end", extra={"count": self.dropped})
        finally:
            self._writer.cancel()
            # The group hears nothing of the body's error, which so leaves as it is and in no group.
            await self._group.__aexit__(None, None, None)

    async def _write(self) -> None:
        while True:
            event = await self._queue.get()
            await self._append(event)
            self._unwritten -= 1
            self._queue.task_done()

    async def _append(self, event: AnyEvent) -> None:
        msg_id = secrets.token_hex(12)
        refusals = 0
        while True:
            try:
                await store_event(self._connection, event, msg_id=msg_id)
            except BrokerUnreachable:
                pass
            except BrokerRefused as error:
                refusals += 1
                if refusals == REFUSALS:
                    self._drop(event, error)
                    return
            except UsageError as error:  # too large for a message, and so it stays
                self._drop(event, error)
                return
            else:
                return
            await asyncio.sleep(RETRY_S)

    def _drop(self, event: AnyEvent, error: FleetError) -> None:
        self.dropped += 1
        kind = type(event).__struct_config__.tag
        log.warning("an event was refused", extra={"kind": kind, "cause": str(error)})


async def store_event(connection: Connection, event: AnyEvent, *, msg_id: str) -> None:
    """Write one event; return once the broker confirms it.

    Raises BrokerRefused, BrokerUnreachable, and UsageError for one that no message holds.
    msg_id: within the stream's duplicate window the same one is stored once, however often it is
    written, so that an event whose answer was lost is not doubled.
    """
    subject = event_subject(str(type(event).__struct_config__.tag), event.node)
    await connection.append(subject, msgspec.json.encode(event), headers={MSG_ID: msg_id})
