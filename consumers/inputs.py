"""Requests that lie in a blob store: fetched once, checked, cut, and never waited for long."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from consumers.input_cache import Cache, Lines, checked
from fleet.blob import Place, parse_place
from fleet.errors import (
    BlobError,
    BrokerRefused,
    BrokerUnreachable,
    JobRejected,
    StoreRefused,
    StoreUnavailable,
)
from fleet.job import Job, Source
from fleet.subjects import shown
from fleet.wire import decode_items

# The whole fetch of one file, retries included.
FETCH_S: Final = 120.0
# A store that failed is left alone for so long; the jobs in hand need not all find out.
REST_S: Final = 5.0

log = logging.getLogger(__name__)


class Store(Protocol):
    """What is needed of a blob store."""

    async def get(self, key: str, *, limit_bytes: int, sha256: str | None = None) -> bytes:
        """Read a blob whole."""
        ...

    def holds(self, place: Place) -> bool:
        """Say whether a place is in this store, within our part of it."""
        ...


class Unready(Exception):
    """The store cannot serve us now; the job's own fault it is not."""


class Inputs:
    """Fills jobs with the requests that they point to.

    limit_bytes: the largest file that is read. hold_bytes: how much of what was read is kept for
    the next job that points to the same file.
    """

    def __init__(
        self, stores: Sequence[Store], *, limit_bytes: int, hold_bytes: int | None = None
    ) -> None:
        self._doors = [_Door(store) for store in stores]
        self._limit_bytes = limit_bytes
        self._cache = Cache(2 * limit_bytes if hold_bytes is None else hold_bytes)

    async def fill(self, job: Job) -> Job:
        """Return the job with its items. Raises JobRejected for good, Unready for now."""
        if job.source is None:
            return job
        source, place = job.source, parse_place(job.source.uri)
        lines = await self._lines(self._door(place, job), place, source)
        if source.first + source.count > len(lines):
            raise JobRejected(
                f"input {shown(source.uri)} has {len(lines)} lines, and lines {source.first} to "
                f"{source.first + source.count - 1} (from 0) were asked for: correct the job",
                code="input_too_short",
            )
        items = decode_items(lines.cut(source.first, source.count), tier=job.tier)
        return msgspec.structs.replace(job, items=items)

    def _door(self, place: Place, job: Job) -> "_Door":
        """Find the store; whoever knows a digest needs a file of his own that has it."""
        if place.tenant == job.tenant:
            for door in self._doors:
                if door.store.holds(place):
                    return door
        raise JobRejected(
            f"input {shown(place.uri)} is in no store where tenant {job.tenant} may name it: put "
            "the file into the object store `payloads`, or into the bucket and prefix that "
            "FLEET_S3_* of the consumers name",
            code="input_elsewhere",
        )

    async def _lines(self, door: "_Door", place: Place, source: Source) -> Lines:
        if (lines := self._cache.get(source.sha256)) is not None:
            return lines
        # One at a time: jobs of one file wait for one fetch of it, and memory is bounded.
        async with door.lock:
            if (lines := self._cache.get(source.sha256)) is not None:
                return lines
            door.check()
            try:
                async with asyncio.timeout(FETCH_S):
                    data = await door.store.get(place.key, limit_bytes=self._limit_bytes)
                lines = await asyncio.to_thread(checked, data, source.sha256, uri=source.uri)
            except BlobError as error:
                raise JobRejected(str(error), code="input_unusable") from error
            except TimeoutError as error:
                raise door.failed(f"{source.uri} was not read within {FETCH_S:g} s") from error
            except (StoreUnavailable, StoreRefused, BrokerUnreachable, BrokerRefused) as error:
                raise door.failed(str(error)) from error
            self._cache.put(source.sha256, lines)
            return lines


class _Door:
    """One store, and what it did last."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.lock = asyncio.Lock()
        self._rests_until = 0.0
        self._cause = ""

    def check(self) -> None:
        if time.monotonic() < self._rests_until:
            raise Unready(self._cause)

    def failed(self, cause: str) -> Unready:
        self._rests_until, self._cause = time.monotonic() + REST_S, cause
        log.warning("input not read", extra={"error": cause})
        return Unready(cause)
