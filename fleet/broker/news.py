"""News of a bucket, within milliseconds and without a request for each look."""

import asyncio
import logging
from contextlib import suppress
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from fleet.broker.connection import Connection, Message
from fleet.broker.stored import messages
from fleet.errors import BrokerRefused, BrokerUnreachable
from fleet.topology import bucket_stream, bucket_subject

log = logging.getLogger(__name__)
# What was missed on the wire is read from the store at the latest then.
POLL_S: Final = 1.0

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Take(Protocol[T_contra]):
    """Takes what became of a key."""

    def __call__(self, key: str, value: T_contra | None) -> None:
        """None: it was removed, or holds nothing of ours."""
        ...


class BucketNews(Generic[T]):
    """Calls `take` with every value of a bucket, and again when one changes.

    A write is heard as it passes: on one server it is here before anything that its writer sends
    afterwards. What was heard may have been refused all the same, or missed; so the bucket is read
    behind what we know, at once and then every second, and the stored value has the last word.
    `loaded` is set once all of it was read.
    """

    def __init__(self, connection: Connection, name: str, type_: type[T], take: Take[T]) -> None:
        self._connection = connection
        self._stream = bucket_stream(name)
        self._start = len(bucket_subject(name, ""))
        self._all = bucket_subject(name, ">")
        self._decoder = msgspec.json.Decoder(type_)
        self._take = take
        self._after = 0
        # Whether to read all of it: keys that are not there any more are told of by nobody.
        self._anew = True
        self._heard = asyncio.Event()
        self._known: set[str] = set()
        self._unsure: set[str] = set()
        self.loaded = asyncio.Event()

    async def follow(self) -> None:
        """Go on until cancelled; a broker that does not answer is asked again."""
        subscription = await self._connection.subscribe(self._all, self._hear)
        forget = self._connection.on_reconnect(self._restart)
        try:
            while True:
                await self._look()
                self._heard.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await self._heard.wait()
        finally:
            forget()
            with suppress(BrokerUnreachable):
                await subscription.unsubscribe()

    async def _look(self) -> None:
        """Read what is new, and once more what was heard and is not stored so."""
        unsure, self._unsure = self._unsure, set()
        anew, self._anew = self._anew, False
        after, gone = (0, self._known.copy()) if anew else (self._after, set[str]())
        try:
            async for stored in messages(self._connection, self._stream, self._all, after=after):
                after = stored.sequence
                unsure.discard(stored.subject)
                gone.discard(stored.subject)
                self._tell(stored.subject, stored.payload)
            for subject in gone - unsure - self._unsure:
                self._tell(subject, b"")
            for subject in unsure:
                self._tell(subject, b"")
                async for stored in messages(self._connection, self._stream, subject):
                    self._tell(subject, stored.payload)
        except (BrokerUnreachable, BrokerRefused) as error:
            self._unsure |= unsure
            self._anew |= anew
            log.warning("bucket not read", extra={"bucket": self._stream, "error": str(error)})
        else:
            self.loaded.set()
        self._after = after

    def _hear(self, message: Message) -> None:
        self._tell(message.subject, message.payload)
        # It is on its way into the store: give it until the next look.
        self._unsure.add(message.subject)

    def _restart(self) -> None:
        """Begin anew: the bucket may be another one than before."""
        self._anew = True
        self._heard.set()

    def _tell(self, subject: str, payload: bytes) -> None:
        try:
            value = self._decoder.decode(payload) if payload else None
        except (msgspec.MsgspecError, ValueError, RecursionError):
            value = None
        (self._known.discard if value is None else self._known.add)(subject)
        self._take(subject[self._start :], value)
