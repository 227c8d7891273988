"""Batches: a file of requests goes in, is watched, may be cancelled, and comes out as two files."""

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from fleet.batch_end import note_end
from fleet.batch_file import Survey
from fleet.batch_output import Files, files_of, writing
from fleet.batch_status import FINAL, BatchStatus, Tally
from fleet.broker.batch_publish import Outgoing
from fleet.broker.connection import Connection
from fleet.broker.kv import Bucket
from fleet.broker.results import ResultLog
from fleet.errors import BrokerRefused, BrokerUnreachable, LeaseLost, NotFound, UsageError
from fleet.job import ResultLine, Tier
from fleet.manifest import Manifest, Via, batch_name, job_id
from fleet.publish import grouped, publish
from fleet.subjects import BATCHES, batch_key, job_subject, shown, token
from fleet.tracing import current
from fleet.wire import job_headers

__all__ = ["Batches", "Collected", "Manifest", "draft"]

POLL_S: Final = 0.5
PATIENCE_S: Final = 60.0
# Each try fails only if somebody else moved the batch on meanwhile.
TRIES: Final = 10
_TWICE: Final = (
    "batch {batch} is being submitted by another process too: leave it to that one; "
    "`fleet batch status {batch}` shows how far it is"
)
_NAME_BYTES: Final = 10

OnProgress: TypeAlias = Callable[[Manifest], None]
OnJobs: TypeAlias = Callable[[int, int], None]


class Collected(msgspec.Struct, frozen=True):
    """What was written: the files, and how the batch stood then."""

    files: Files
    status: BatchStatus

    @property
    def missing(self) -> int:
        """Items without a line so far."""
        counts = self.status.request_counts
        return counts.total - counts.done


def draft(
    survey: Survey,
    *,
    tenant: str,
    model: str,
    input_name: str,
    now: float,
    batch: str | None = None,
    completion_window_s: float | None = None,
    via: Via = "inline",
) -> Manifest:
    """Plan a batch for a file without problems.

    batch: a name of one's own; else a digest of the file and the options, so that the same command
    names the same batch. now: seconds since the epoch. Raises UsageError or JobRejected for names.
    """
    if survey.problems:
        raise UsageError(f"the file has {len(survey.problems)} bad lines: mend them first")
    # Jobs that point elsewhere have other bodies, and so are other jobs.
    how = () if via == "inline" else (via,)
    work = (survey.sha256, model, survey.chunk, completion_window_s, *how)
    digest = hashlib.blake2b(msgspec.json.encode(work), digest_size=_NAME_BYTES).hexdigest()
    return Manifest(
        id=f"batch-{digest}" if batch is None else batch_name(batch),
        tenant=token(tenant, what="tenant"),
        model=token(model, what="model"),
        tier=Tier.BATCH,
        input_sha256=survey.sha256,
        input_name=input_name,
        layout=survey.layout,
        created_at=now,
        completion_window_s=completion_window_s,
        via=via,
    )


class Batches:
    """The batches of one tenant. Every method may be repeated: none does its work twice."""

    def __init__(self, connection: Connection, *, tenant: str) -> None:
        self._connection = connection
        self._tenant = token(tenant, what="tenant")
        self._bucket = Bucket(connection, BATCHES, Manifest)
        self._log = ResultLog(connection)

    async def submit(
        self, plan: Manifest, bodies: Iterable[bytes], *, on_progress: OnProgress | None = None
    ) -> Manifest:
        """Publish what is not in the queue yet of `plan`; `bodies` are those of all its jobs.

        Goes on where an earlier call stopped, and returns at once if all was there. A call that
        died between a publish and its record leaves one group that is published again: consumers
        know those jobs by their ids and answer none twice.

        Raises UsageError if the name is taken by other work or the batch is cancelled, LeaseLost
        if another process submits it too, BrokerRefused if the queue is full; go on later then.
        """
        manifest, revision = await self._enter(plan)
        messages = (_message(manifest, *each) for each in enumerate(bodies))
        for group in grouped(islice(messages, manifest.submitted_jobs, None)):
            await self._publish(manifest, group)
            submitted = manifest.submitted_jobs + len(group)
            manifest = msgspec.structs.replace(
                manifest,
                submitted_jobs=submitted,
                state="submitted" if submitted == manifest.jobs else "submitting",
            )
            revision = await self._record(manifest, revision)
            if on_progress is not None:
                on_progress(manifest)
        return manifest

    async def manifest(self, batch: str) -> Manifest:
        """Read what is known of a batch. Raises NotFound."""
        return (await self._find(batch))[0]

    async def status(self, batch: str) -> BatchStatus:
        """Count a batch's results, all of which are read for it. Raises NotFound."""
        manifest = await self.manifest(batch)
        tally = Tally(manifest)
        await self._count(manifest, tally)
        return await self._noted(tally.status(manifest))

    async def watch(self, batch: str) -> AsyncGenerator[BatchStatus, None]:
        """Yield the status now and whenever it may have changed, until it is final.

        Raises NotFound, and what the broker said, or that it said nothing, after PATIENCE_S.
        """
        manifest = await self.manifest(batch)
        tally = Tally(manifest)
        heard_at = time.monotonic()
        while True:
            try:
                await self._count(manifest, tally)
                manifest = await self.manifest(batch)
            except (BrokerUnreachable, BrokerRefused):
                # The connection comes back by itself, to a broker that may refuse for a moment: a
                # restart should not end a watch of hours.
                if time.monotonic() - heard_at > PATIENCE_S:
                    raise
            else:
                heard_at = time.monotonic()
                yield (status := await self._noted(tally.status(manifest)))
                if status.status in FINAL:
                    return
            await asyncio.sleep(POLL_S)

    async def collect(
        self, batch: str, folder: Path, *, with_fleet: bool = False, told: OnJobs = lambda *_: None
    ) -> Collected:
        """Write the results that are there, in the order of the input; safe to repeat.

        One job's results are held at a time. told: of how many they are written.
        Raises NotFound, OSError.
        """
        manifest = await self.manifest(batch)
        tally = Tally(manifest)
        files = files_of(manifest.id, folder)
        with writing(files, with_fleet=with_fleet) as writer:
            for number in range(manifest.jobs):
                job = job_id(manifest.id, number)
                lines: list[ResultLine] = []
                async for message in self._log.follow(self._tenant, manifest.id, job=job):
                    lines += tally.add(job, message.lines)
                for line in sorted(lines, key=lambda line: line.fleet.item):
                    writer.add(line)
                told(number + 1, manifest.jobs)
        return Collected(files, await self._noted(tally.status(manifest)))

    async def cancel(self, batch: str) -> BatchStatus:
        """Ask for a batch's end; a batch that is complete already stays as it is.

        Items that run or wait get an error line from the consumers. Raises NotFound.
        """
        for _ in range(TRIES):
            status = await self.status(batch)
            manifest, revision = await self._find(batch)
            if manifest.is_cancelled or status.status in FINAL:
                return status
            cancelled = msgspec.structs.replace(
                manifest, state="cancelling" if manifest.submitted_jobs else "cancelled"
            )
            try:
                await self._bucket.put(self._key(batch), cancelled, revision=revision)
            except LeaseLost:
                continue  # its submission moved on meanwhile
        raise LeaseLost(f"batch {batch} changes all the time: stop what submits it, cancel again")

    async def ls(self) -> list[Manifest]:
        """List the tenant's batches, oldest first."""
        entries = await self._bucket.entries(self._tenant)
        found = [entry.value for key, entry in entries.items() if self._is_own(key, entry.value)]
        return sorted(found, key=lambda manifest: manifest.created_at)

    async def _enter(self, plan: Manifest) -> tuple[Manifest, int]:
        """Create the batch, or take up the one that is there."""
        mine = msgspec.structs.replace(plan, writer=secrets.token_hex(8))
        key = self._key(plan.id)
        entry = await self._bucket.get(key)
        for _ in range(TRIES):
            if entry is None:
                manifest, revision = mine, 0
            else:
                manifest, revision = entry.value, entry.revision
                _check_resumable(manifest, plan)
                if manifest.state in {"submitted", "completed"}:
                    return manifest, revision
                manifest = msgspec.structs.replace(manifest, writer=mine.writer)
            try:
                return manifest, await self._bucket.put(key, manifest, revision=revision)
            except LeaseLost:
                entry = await self._bucket.get(key)
        raise LeaseLost(_TWICE.format(batch=plan.id))

    async def _publish(self, manifest: Manifest, group: list[Outgoing]) -> None:
        try:
            await publish(self._connection, group)
        except BrokerRefused as error:
            raise BrokerRefused(
                f"batch {manifest.id}: {error}; {manifest.submitted_jobs} of {manifest.jobs} jobs "
                "are in the queue, and the same command goes on from there"
            ) from error

    async def _record(self, manifest: Manifest, revision: int) -> int:
        """Note what is published; whoever cancelled or took over meanwhile is not overruled."""
        key = self._key(manifest.id)
        try:
            return await self._bucket.put(key, manifest, revision=revision)
        except LeaseLost as error:
            found, revision = await self._find(manifest.id)
            if not found.is_cancelled:
                raise LeaseLost(_TWICE.format(batch=manifest.id)) from error
        counted = max(found.submitted_jobs, manifest.submitted_jobs)
        found = msgspec.structs.replace(found, state="cancelling", submitted_jobs=counted)
        await self._bucket.put(key, found, revision=revision)
        raise UsageError(f"batch {manifest.id} was cancelled while it was being submitted")

    async def _count(self, manifest: Manifest, tally: Tally) -> None:
        """Add what is new; what was added stays so, even if the broker goes away halfway."""
        log = self._log.follow(self._tenant, manifest.id, after=tally.sequence)
        async for message in log:
            tally.add(message.job, message.lines)
            tally.sequence = message.sequence

    async def _noted(self, status: BatchStatus) -> BatchStatus:
        """Record an end that was seen."""
        if status.status in {"completed", "cancelled"}:
            await note_end(self._bucket, self._key(status.id), status.status)
        return status

    async def _find(self, batch: str) -> tuple[Manifest, int]:
        entry = await self._bucket.get(self._key(batch))
        if entry is None or not self._is_own(self._key(batch), entry.value):
            raise NotFound(
                f"there is no batch {shown(batch)} of tenant {self._tenant}: "
                "`fleet batch ls` shows those that are there"
            )
        return entry.value, entry.revision

    def _key(self, batch: str) -> str:
        return batch_key(self._tenant, batch_name(batch))

    def _is_own(self, key: str, manifest: Manifest) -> bool:
        """Whether a record says of itself what its key says; another one is a forgery."""
        return key == batch_key(self._tenant, manifest.id) and manifest.tenant == self._tenant


def _check_resumable(found: Manifest, plan: Manifest) -> None:
    if not found.same_work(plan):
        raise UsageError(
            f"batch {plan.id} exists with other content or options: choose another name"
        )
    if found.is_cancelled:
        raise UsageError(f"batch {plan.id} was cancelled: submit the file under another name")


def _message(manifest: Manifest, number: int, body: bytes) -> Outgoing:
    headers = job_headers(
        manifest.tenant, job_id(manifest.id, number), batch=manifest.id,
        deadline=manifest.deadline, traceparent=current(),
    )  # fmt: skip
    return job_subject(manifest.tier, manifest.model, manifest.tenant), body, headers
