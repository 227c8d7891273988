"""Typed key-value buckets with compare-and-swap, on plain JetStream."""

import hashlib
import math
from typing import Final, Generic, TypeVar

import msgspec

from fleet.broker.clock import ServerClock
from fleet.broker.connection import Connection
from fleet.broker.fenced import TRIES, append_after, is_same
from fleet.broker.headers import whole
from fleet.broker.stored import Stored, last_message, messages
from fleet.errors import BrokerUnreachable, CorruptRecord, LeaseLost
from fleet.topology import MARKER_TTL_S, bucket_stream, bucket_subject

TTL: Final = "Nats-TTL"
OPERATION: Final = "KV-Operation"
SEAL: Final = "Fleet-Seal"
_PURGE: Final = {OPERATION: "PURGE", "Nats-Rollup": "sub", TTL: f"{MARKER_TTL_S:.0f}"}

T = TypeVar("T")


class Entry(msgspec.Struct, Generic[T], frozen=True):
    """A value, the revision that a compare-and-swap has to name, and when the server wrote it."""

    value: T
    revision: int
    written_at: float


class Bucket(Generic[T]):
    """One bucket whose values are JSON of one type.

    Values of an equal write count as one's own, so a value that fences has to hold a token that no
    other writer uses. What is stored may be foreign: `get` raises CorruptRecord for what does not
    decode, `entries` leaves it out and says how many in `skipped`. sealed: values carry a digest of
    their bytes, and one that was changed since, or written by anybody else, counts as corrupt.
    """

    def __init__(
        self, connection: Connection, name: str, type_: type[T], *, sealed: bool = False
    ) -> None:
        self._connection = connection
        self._sealed = sealed
        self._name = name
        self._stream = bucket_stream(name)
        self._decoder = msgspec.json.Decoder(type_)
        self._clock = ServerClock(connection, self._stream)
        self.skipped = 0

    async def get(self, key: str) -> Entry[T] | None:
        """Read one value; None if there is none, or if it was forgotten or expired."""
        stored = await self._last(key)
        return self._entry(stored) if stored and await self._counts(stored) else None

    async def exists(self, key: str) -> bool:
        """Say whether there is a value, whatever it holds."""
        stored = await self._last(key)
        return stored is not None and await self._counts(stored)

    async def put(
        self, key: str, value: T, *, revision: int | None = None, ttl_s: float | None = None
    ) -> int:
        """Write a value and return its revision.

        revision: None writes over anything, 0 only where there is no value, n only over revision n.
        ttl_s: when the key expires; rounded up to whole seconds, at least 1. Raises LeaseLost when
        the guard refuses, BrokerUnreachable when it stays unclear whether the value was stored.
        """
        payload = msgspec.json.encode(value)
        headers = {} if ttl_s is None else {TTL: str(max(1, math.ceil(ttl_s)))}
        if self._sealed:
            headers[SEAL] = seal_of(payload)
        if revision is None:
            return await self._overwrite(key, payload, headers)
        if revision == 0:
            return await self._create(key, payload, headers)
        return await self._append(key, payload, headers, last=revision)

    async def forget(self, key: str, *, revision: int | None = None) -> None:
        """Remove a value, only at `revision` if that is given; a marker stays for a minute.

        Raises LeaseLost when another value was written since.
        """
        if revision is None:
            await self._overwrite(key, b"", _PURGE)
        else:
            await self._append(key, b"", _PURGE, last=revision)

    async def entries(self, prefix: str = "") -> dict[str, Entry[T]]:
        """Read all values whose key is `<prefix>.<more>`, or simply all; whole tokens only."""
        # A bucket keeps one message a key, so the stream in order is the newest of every key: a key
        # written while we page moves to the end and is read there.
        pattern = f"{prefix.rstrip('.')}.>" if prefix else ">"
        start = len(bucket_subject(self._name, ""))
        found: dict[str, Entry[T]] = {}
        self.skipped = 0
        async for stored in messages(
            self._connection, self._stream, bucket_subject(self._name, pattern)
        ):
            key = stored.subject[start:]
            found.pop(key, None)
            if not await self._counts(stored):
                continue
            try:
                found[key] = self._entry(stored)
            except CorruptRecord:
                self.skipped += 1
        return found

    async def _overwrite(self, key: str, payload: bytes, headers: dict[str, str]) -> int:
        subject = bucket_subject(self._name, key)
        try:
            return (await self._connection.append(subject, payload, headers=headers)).sequence
        except BrokerUnreachable:
            stored = await self._last(key)
            if stored is not None and is_same(stored, payload, headers):
                return stored.sequence
            raise

    async def _create(self, key: str, payload: bytes, headers: dict[str, str]) -> int:
        last = 0
        for _ in range(TRIES):
            try:
                return await self._append(key, payload, headers, last=last)
            except LeaseLost:
                # A marker counts for the server, not for us; it may also expire under our hands.
                stored = await self._last(key)
                if stored is not None and await self._counts(stored):
                    if is_same(stored, payload, headers):
                        return stored.sequence
                    raise
                last = stored.sequence if stored else 0
        raise LeaseLost(f"creating {key} in {self._name} was refused {TRIES} times: try again")

    async def _append(self, key: str, payload: bytes, headers: dict[str, str], *, last: int) -> int:
        subject = bucket_subject(self._name, key)
        return await append_after(
            self._connection, self._stream, subject, payload, headers=headers, last=last
        )

    async def _last(self, key: str) -> Stored | None:
        return await last_message(self._connection, self._stream, bucket_subject(self._name, key))

    async def _counts(self, stored: Stored) -> bool:
        """Say whether this is a value, and still one.

        A server that was killed brings back what had expired, until it looks at its ages again.
        """
        if _is_marker(stored):
            return False
        ttl_s = whole(stored.headers.get(TTL, ""))
        # Ours are whole seconds; of other forms the server alone knows.
        return ttl_s is None or await self._clock.now() < stored.written_at + ttl_s

    def _entry(self, stored: Stored) -> Entry[T]:
        try:
            value = self._value(stored)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise CorruptRecord(
                f"{stored.subject} holds no value of ours ({error}): another version or a foreign "
                "client wrote it; write it again or remove it",
                revision=stored.sequence,
                written_at=stored.written_at,
            ) from error
        return Entry(value, stored.sequence, stored.written_at)

    def _value(self, stored: Stored) -> T:
        if self._sealed and stored.headers.get(SEAL) != seal_of(stored.payload):
            raise ValueError("its seal is missing or broken")
        return self._decoder.decode(stored.payload)


def seal_of(payload: bytes) -> str:
    """Digest a value: a change by accident or by hand shows; it is no protection from forgers."""
    return hashlib.sha256(payload).hexdigest()[:32]


def _is_marker(stored: Stored) -> bool:
    return OPERATION in stored.headers or "Nats-Marker-Reason" in stored.headers
