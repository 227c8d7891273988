"""JetStream's object store, over our own connection: blobs in chunks, and a record of each.

The layout is the one that every NATS client knows, so `nats object put` can bring a job's input.
Reading is Direct Get: it needs no consumer. Links are not followed: one could lead to another
tenant's object.
"""

import hashlib
import logging
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import Final, NoReturn

import msgspec

from fleet.blob import Place, Stat
from fleet.broker.connection import ApiError, Connection
from fleet.broker.fenced import append_after
from fleet.broker.stored import Stored, last_message, messages
from fleet.errors import (
    BlobChanged,
    BlobCorrupt,
    BlobMissing,
    BlobTooLarge,
    BrokerRefused,
    BrokerUnreachable,
    LeaseLost,
    StoreRefused,
)
from fleet.job import MIB
from fleet.subjects import PAYLOADS
from fleet.topology import object_stream

CHUNK_BYTES: Final = MIB // 4
TRIES: Final = 3
_ROLLUP: Final = {"Nats-Rollup": "sub"}
# Part of a subject, and of what is purged: a wildcard here would take everybody's chunks.
_NUID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NO_ROOM: Final = frozenset({10077, 10023})

log = logging.getLogger(__name__)


class _Options(msgspec.Struct, frozen=True):
    link: msgspec.Raw | None = None
    max_chunk_size: int = CHUNK_BYTES


class _Info(msgspec.Struct, frozen=True, kw_only=True):
    """The record of an object, as NATS clients write it."""

    name: str
    bucket: str
    nuid: str
    size: int
    chunks: int
    digest: str
    deleted: bool = False
    options: _Options | None = None


class Objects:
    """A blob store in the broker itself."""

    def __init__(self, connection: Connection, bucket: str = PAYLOADS) -> None:
        self._connection = connection
        self._bucket = bucket
        self._stream = object_stream(bucket)

    async def put(self, key: str, data: bytes, *, etag: str | None = None) -> str:
        """Store an object, only where there is none, or only over `etag`. Raises BlobChanged."""
        digest = _digest(data)
        stored, before = await self._find(key)
        last = stored.sequence if stored else 0
        if before is not None and before.digest == digest and etag != str(last):
            return str(last)
        if (etag is None and before is not None) or etag not in {None, str(last)}:
            self._changed(key)
        nuid = await self._write_chunks(key, data)
        info = _Info(
            name=key, bucket=self._bucket, nuid=nuid, size=len(data), digest=digest,
            chunks=-(-len(data) // CHUNK_BYTES), options=_Options(),
        )  # fmt: skip
        try:
            sequence = await append_after(
                self._connection, self._stream, self._meta(key),
                msgspec.json.encode(info), headers=_ROLLUP, last=last,
            )  # fmt: skip
        except LeaseLost as error:
            await self._purge(self._chunks(nuid))
            stored, after = await self._find(key)
            if stored is not None and after is not None and after.digest == digest:
                return str(stored.sequence)
            self._changed(key, error)
        if before is not None:
            await self._purge(self._chunks(before.nuid))
        return str(sequence)

    async def get(self, key: str, *, limit_bytes: int, sha256: str | None = None) -> bytes:
        """Read an object whole. Raises BlobMissing, BlobTooLarge, BlobCorrupt."""
        _, info = await self._find(key)
        while info is not None:
            if info.size > limit_bytes:
                raise BlobTooLarge(
                    f"object {self.uri(key)} has {info.size} bytes, over the limit of "
                    f"{limit_bytes}: split it"
                )
            data = await self._read(info)
            if len(data) == info.size and _digest(data) == info.digest:
                self._check(key, data, sha256)
                return data
            # It may have been replaced while it was read.
            _, again = await self._find(key)
            if again == info:
                raise BlobCorrupt(
                    f"object {self.uri(key)} is damaged or partly expired ({len(data)} of "
                    f"{info.size} bytes, or other ones): store it again"
                )
            info = again
        raise BlobMissing(
            f"there is no object {self.uri(key)}: it was never stored, or is older than its "
            "bucket keeps; store it again"
        )

    async def head(self, key: str) -> Stat | None:
        """Say what there is; None for nothing."""
        stored, info = await self._find(key)
        if stored is None or info is None:
            return None
        return Stat(etag=str(stored.sequence), size_bytes=info.size, written_at=stored.written_at)

    async def delete(self, key: str) -> None:
        """Remove an object and all that is said of it; nothing happens where there is none."""
        _, info = await self._find(key)
        await self._remove(self._meta(key))
        if info is not None:
            await self._purge(self._chunks(info.nuid))

    def uri(self, key: str) -> str:
        """Name an object: `objects://payloads/acme/prompts.jsonl`."""
        return f"objects://{self._bucket}/{key}"

    def holds(self, place: Place) -> bool:
        """Say whether a place is in this store."""
        return (place.scheme, place.bucket, place.prefix) == ("objects", self._bucket, "")

    async def _find(self, key: str) -> tuple[Stored | None, _Info | None]:
        """Read the newest record, and what it says if it is of an object that is there."""
        stored = await last_message(self._connection, self._stream, self._meta(key))
        if stored is None:
            return None, None
        try:
            info = msgspec.json.decode(stored.payload, type=_Info)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return stored, None
        is_link = info.options is not None and info.options.link is not None
        if info.deleted or is_link or info.size < 0 or not _NUID.fullmatch(info.nuid):
            return stored, None
        return stored, info

    async def _read(self, info: _Info) -> bytes:
        data = bytearray()
        async for chunk in messages(self._connection, self._stream, self._chunks(info.nuid)):
            data += chunk.payload
            if len(data) > info.size:
                break
        return bytes(data)

    async def _write_chunks(self, key: str, data: bytes) -> str:
        """Store the chunks under a name of their own; after a lost answer, all of them again."""
        for attempt in range(TRIES):
            nuid = secrets.token_hex(11)
            try:
                for chunk in _cut(data):
                    await self._connection.append(self._chunks(nuid), chunk)
            except BrokerUnreachable:
                # It may be stored or not, and a chunk must not be there twice.
                if attempt == TRIES - 1:
                    raise
                await self._purge(self._chunks(nuid))
            except ApiError as error:
                await self._purge(self._chunks(nuid))
                if error.err_code in _NO_ROOM:
                    raise StoreRefused(
                        f"{self.uri(key)} was not stored, bucket {self._bucket} has no room: "
                        f"raise `max_bytes` of {self._stream}, or wait until old objects expire"
                    ) from error
                raise
            else:
                return nuid
        raise AssertionError("unreachable: the last try returns or raises")

    async def _purge(self, subject: str) -> None:
        """Remove what nothing names any more; what stays expires with its bucket's age."""
        try:
            await self._remove(subject)
        except (BrokerUnreachable, BrokerRefused) as error:
            log.warning("chunks not removed", extra={"subject": subject, "error": str(error)})

    async def _remove(self, subject: str) -> None:
        await self._connection.api(f"STREAM.PURGE.{self._stream}", {"filter": subject})

    def _meta(self, key: str) -> str:
        return f"$O.{self._bucket}.M.{urlsafe_b64encode(key.encode()).decode()}"

    def _chunks(self, nuid: str) -> str:
        return f"$O.{self._bucket}.C.{nuid}"

    def _check(self, key: str, data: bytes, sha256: str | None) -> None:
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            raise BlobCorrupt(
                f"object {self.uri(key)} has another sha256 than was named: name its own, or "
                "store what was meant"
            )

    def _changed(self, key: str, cause: LeaseLost | None = None) -> NoReturn:
        raise BlobChanged(
            f"{self.uri(key)} was not written, other bytes lie there: choose another name, or "
            "read it and write over what it is now"
        ) from cause


def _cut(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]


def _digest(data: bytes) -> str:
    return "SHA-256=" + urlsafe_b64encode(hashlib.sha256(data).digest()).decode()
