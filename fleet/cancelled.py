"""Ending what was cancelled while no consumer takes it."""

import time
from collections.abc import AsyncIterator, Sequence
from typing import Final, TypeVar

import msgspec

from fleet.batch_end import note_end
from fleet.broker.connection import Connection
from fleet.broker.durables import DurableState
from fleet.broker.kv import Bucket
from fleet.broker.queued import Queued, queued, queued_at
from fleet.broker.stored import messages
from fleet.cancel import Mark
from fleet.endings import CANCELLED
from fleet.finisher import Finisher
from fleet.manifest import Manifest
from fleet.subjects import BATCHES, CANCELS, JOB_STREAMS, batch_key, cancel_key
from fleet.topology import bucket_stream, bucket_subject
from fleet.wire import BATCH

# A consumer that lives hears of a cancellation in milliseconds; so long we leave it to them.
PATIENCE_S: Final = 2.0
DELIVERED_S: Final = 10.0
ROUND: Final = 500
T = TypeVar("T")


class CancelledJobs:
    """Follows what is cancelled and ends it, where consumers do not."""

    def __init__(self, connection: Connection, finisher: Finisher) -> None:
        self._connection = connection
        self._finisher = finisher
        self._manifests = Bucket(connection, BATCHES, Manifest)
        self._after: dict[str, int] = {}
        # When each was first seen, on the monotonic clock.
        self._marks: dict[str, tuple[Mark, float]] = {}
        self._batches: dict[str, tuple[Manifest, float]] = {}
        self._deliveries: dict[str, int] = {}
        self.waits = False

    async def end(self, durables: Sequence[DurableState]) -> list[Queued]:
        """End what nobody took for long enough; return it.

        Afterwards `waits` says whether something is to be looked at again soon.
        """
        await self._read()
        self.waits = False
        return [*await self._end_marked(durables), *await self._end_batches(durables)]

    async def _end_marked(self, durables: Sequence[DurableState]) -> list[Queued]:
        delivered = {(state.stream, state.model): state.delivered_seq for state in durables}
        ended: list[Queued] = []
        for key, (mark, since) in tuple(self._marks.items()):
            one = await queued_at(self._connection, mark.stream, mark.sequence)
            if one is None or not _is_of(key, one):
                del self._marks[key]
                continue
            model = one.subject.split(".")[2]
            is_out = mark.sequence <= delivered.get((mark.stream, model), 0)
            if time.monotonic() - since < (DELIVERED_S if is_out else PATIENCE_S):
                self.waits = True
            elif await self._finisher.end(one, CANCELLED) == "ended":
                ended.append(one)
        return ended

    async def _end_batches(self, durables: Sequence[DurableState]) -> list[Queued]:
        ended: list[Queued] = []
        for state in durables:
            moved = self._deliveries.get(state.name) != state.deliveries
            self._deliveries[state.name] = state.deliveries
            for key, (manifest, since) in tuple(self._batches.items()):
                if (manifest.tier, manifest.model) != (state.tier, state.model) or state.pulls:
                    continue  # where somebody pulls, consumers are at it
                if moved or time.monotonic() - since < PATIENCE_S:
                    self.waits = True
                else:
                    ended += await self._end_batch(key, manifest, state)
        return ended

    async def _end_batch(self, key: str, manifest: Manifest, state: DurableState) -> list[Queued]:
        """End the jobs of a batch that still wait; when none is left, it is cancelled."""
        subject = f"jobs.{state.tier}.{state.model}.{manifest.tenant}"
        ended: list[Queued] = []
        left = False
        async for one in queued(self._connection, state.stream, subject):
            if one.headers.get(BATCH) != manifest.id:
                continue
            if len(ended) == ROUND:
                self.waits = True
                return ended
            match await self._finisher.end(one, CANCELLED):
                case "ended":
                    ended.append(one)
                case "left":
                    left = True
                case "settled":
                    pass
        if not left:
            del self._batches[key]
            await note_end(self._manifests, key, "cancelled")
        return ended

    async def _read(self) -> None:
        """Take in what was cancelled since."""
        now = time.monotonic()
        async for key, payload in self._new(CANCELS):
            mark = _decoded(payload, Mark)
            if mark is not None and mark.stream in JOB_STREAMS:
                self._marks[key] = (mark, now)
        async for key, payload in self._new(BATCHES):
            manifest = _decoded(payload, Manifest)
            if manifest is None or manifest.state != "cancelling":
                self._batches.pop(key, None)
            elif key == batch_key(manifest.tenant, manifest.id):
                self._batches.setdefault(key, (manifest, now))

    async def _new(self, bucket: str) -> AsyncIterator[tuple[str, bytes]]:
        """Yield what was written to a bucket since the last look."""
        start = len(bucket_subject(bucket, ""))
        after = self._after.get(bucket, 0)
        async for stored in messages(
            self._connection, bucket_stream(bucket), bucket_subject(bucket, ">"), after=after
        ):
            yield stored.subject[start:], stored.payload
            self._after[bucket] = stored.sequence


def _is_of(key: str, one: Queued) -> bool:
    """Whether a mark's place holds its job: another one may stand there in a stream made anew."""
    return key == cancel_key(one.subject.rpartition(".")[2], one.job)


def _decoded(payload: bytes, kind: type[T]) -> T | None:
    """Decode a value; None for a removal and for what is not ours."""
    try:
        return msgspec.json.decode(payload, type=kind) if payload else None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
