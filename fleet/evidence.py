"""Collecting what the broker stores of jobs, in the order that makes a proof of it."""

import time
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from fleet.batches import Batches
from fleet.broker.connection import Connection
from fleet.broker.dead import CODE
from fleet.broker.eventlog import EventLog
from fleet.broker.kv import Bucket
from fleet.broker.log_state import is_claim, lines_of
from fleet.broker.stored import Stored, messages
from fleet.broker.stream_state import stream_state
from fleet.errors import JobRejected
from fleet.events import UsageRecorded
from fleet.job import Tier
from fleet.manifest import Manifest, job_number
from fleet.proof import Logged, Proof
from fleet.subjects import CLAIMS, DEAD, EVENTS, IDENTIFIER, RESULTS, job_stream
from fleet.topology import DAY_S, RESULTS_AGE_S
from fleet.verify import Verifier
from fleet.wire import JOB_ID, WRITER, decode_envelope

# Of a log that began a day before its first message expires, all is still there.
KEPT_S: Final = RESULTS_AGE_S - DAY_S
OnProgress: TypeAlias = Callable[[str, int, int], None]


class _Owner(msgspec.Struct, frozen=True):
    """What a proof needs of a claim, of whatever version."""

    owner: str | None = None


async def verify(
    connection: Connection,
    *,
    tenant: str | None = None,
    batch: str | None = None,
    on_progress: OnProgress = lambda _what, _done, _all: None,
) -> Proof:
    """Prove that every job has one end and every item one line, or say what is wrong.

    tenant: None for all tenants; a batch needs one. on_progress: told what is read, and how far of
    how far. Raises NotFound for an unknown batch, BrokerRefused, BrokerUnreachable.
    """
    manifest = None
    if batch is not None:
        manifest = await Batches(connection, tenant=tenant or "default").manifest(batch)
        tenant = manifest.tenant
    reader = _Reader(connection, manifest, tenant or "*", on_progress)
    verifier = Verifier(manifest=manifest, tenant=tenant, since=time.time() - KEPT_S)
    read = await reader.log(verifier.log, after=0)
    await reader.claims(verifier)
    await reader.queued(verifier)
    await reader.log(verifier.later, after=read)
    await reader.dead(verifier)
    if manifest is not None:
        await reader.usage(verifier, manifest)
    return verifier.proof()


class _Reader:
    def __init__(
        self, connection: Connection, manifest: Manifest | None, tenant: str, report: OnProgress
    ) -> None:
        self._connection = connection
        self._manifest = manifest
        self._tenant = tenant
        self._report = report

    async def log(self, take: Callable[[Logged], None], *, after: int) -> int:
        """Read the result log behind a sequence; return the last one that was there."""
        batch = self._manifest.id if self._manifest else "*"
        last = await self._last(RESULTS)
        pattern = f"results.{self._tenant}.{batch}.*"
        read = after
        async for stored in messages(self._connection, RESULTS, pattern, after=after):
            read = stored.sequence
            if (message := _logged(stored)) is not None:
                take(message)
            self._report("results", min(read, last), last)
        return read

    async def claims(self, verifier: Verifier) -> None:
        """Read who holds what."""
        prefix = "" if self._tenant == "*" else self._tenant
        for key, entry in (await Bucket(self._connection, CLAIMS, _Owner).entries(prefix)).items():
            tenant, _, job = key.partition(".")
            if self._wants(job):
                owner, at = entry.value.owner, entry.written_at
                verifier.claim(tenant, job, owner=owner, written_at=at)

    async def queued(self, verifier: Verifier) -> None:
        """Read which jobs lie in the queues. What is no job has no name before it is refused."""
        tiers = [self._manifest.tier] if self._manifest else list(Tier)
        for tier in tiers:
            stream = job_stream(tier)
            model = self._manifest.model if self._manifest else "*"
            last = await self._last(stream)
            pattern = f"jobs.{tier}.{model}.{self._tenant}"
            async for stored in messages(self._connection, stream, pattern):
                self._report(f"queue {tier}", min(stored.sequence, last), last)
                try:
                    envelope = decode_envelope(
                        stored.subject, stored.headers, stream=stream, sequence=stored.sequence
                    )
                except JobRejected:
                    continue
                if self._wants(envelope.id):
                    verifier.queued(envelope.tenant, envelope.id)

    async def dead(self, verifier: Verifier) -> None:
        """Read which jobs were given up."""
        async for stored in messages(self._connection, DEAD, f"dead.*.*.{self._tenant}"):
            job = stored.headers.get(JOB_ID)
            if job is not None and self._wants(job):
                tenant = stored.subject.rpartition(".")[2]
                verifier.dead(tenant, job, code=stored.headers.get(CODE, ""))

    async def usage(self, verifier: Verifier, manifest: Manifest) -> None:
        """Read what nodes recorded for the batch."""
        last = await self._last(EVENTS)
        async for recorded in EventLog(self._connection).read():
            self._report("events", min(recorded.sequence, last), last)
            event = recorded.event
            if not isinstance(event, UsageRecorded):
                continue
            if (event.tenant, event.batch) == (manifest.tenant, manifest.id):
                verifier.recorded(event.completion_tokens)

    def _wants(self, job: str) -> bool:
        return self._manifest is None or job_number(self._manifest.id, job) is not None

    async def _last(self, stream: str) -> int:
        return (await stream_state(self._connection, stream)).last_seq


def _logged(stored: Stored) -> Logged | None:
    _, tenant, batch, job = stored.subject.split(".")
    if not IDENTIFIER.fullmatch(job):
        return None
    return Logged(
        sequence=stored.sequence,
        tenant=tenant,
        batch=batch,
        job=job,
        run=stored.headers.get(WRITER, "").partition(".")[0] or None,
        is_claim=is_claim(stored),
        lines=lines_of(job, stored),
        written_at=stored.written_at,
    )
