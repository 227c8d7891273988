"""Jobs without an end: the oldest of each tier, who has them, and what of them is saved."""

from collections.abc import Collection, Iterable
from contextlib import aclosing
from typing import Final, TypeAlias

import msgspec

from dashboard.live.budget import Budget
from dashboard.live.events import Heard
from dashboard.live.queues import Aged, QueueLook
from dashboard.snapshot import JobFact, JobState
from fleet.bounds import Count
from fleet.broker.connection import Connection
from fleet.broker.queued import Queued, queued
from fleet.broker.stored import Stored, first_behind, last_messages
from fleet.claim import SUSPECTS_MAX
from fleet.errors import BrokerRefused, JobRejected
from fleet.job import Tier
from fleet.subjects import CLAIMS, claim_key, job_stream
from fleet.topology import bucket_stream, bucket_subject
from fleet.wire import decode_envelope

# So many are listed of each tier: the oldest, for these are the ones that something may be wrong
# with. All of them are counted.
LISTED: Final = 1_000
_CLAIMS_AT_ONCE: Final = 256


# Items done and tokens saved; None before the first checkpoint.
_Progress: TypeAlias = tuple[int | None, int] | None


class _Input(msgspec.Struct, frozen=True):
    count: Count | None = None


class _Form(msgspec.Struct, frozen=True):
    """What of a job's body says how many items it has."""

    requests: list[msgspec.Raw] | None = None
    input: _Input | None = None


class _Saved(msgspec.Struct, frozen=True, array_like=True):
    index: Count
    prompt_ids: msgspec.Raw
    done_ids: msgspec.Raw


class _Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What the screen needs of a claim; token ids are counted, not read."""

    owner: str | None
    attempts: Count = 0
    interruptions: Count = 0
    suspects: Count = 0
    saved: tuple[_Saved, ...] = ()
    items_done: Count | None = None

    @property
    def tokens(self) -> int:
        """How many are saved of items that are not done."""
        return sum(_count(saved.done_ids) for saved in self.saved)


class _Holding(msgspec.Struct, frozen=True):
    claim: _Claim
    written_at: float


class JobLook:
    """Lists jobs."""

    def __init__(self, heard: Heard, queues: QueueLook, budget: Budget) -> None:
        self._heard = heard
        self._queues = queues
        self._budget = budget
        self._known: dict[tuple[Tier, int], JobFact] = {}
        self._listed: list[JobFact] = []
        self._claims: dict[str, _Holding] = {}
        # What of a job that is out was saved, and when that was seen first.
        self._moved: dict[tuple[Tier, int], tuple[_Progress, float]] = {}
        self._told: tuple[JobFact, ...] = ()
        self._told_for: Collection[str] | None = None

    async def look(self, connection: Connection, now: float) -> None:
        """Read them once. Raises BrokerRefused, BrokerUnreachable."""
        listed: list[JobFact] = []
        ages: dict[tuple[Tier, str, str], Aged] = {}
        for tier in Tier:
            if not self._queues.queues(tier):
                continue
            found = await self._oldest(connection, tier)
            listed += found
            ages |= await self._ages(connection, tier, found)
        self._listed = listed
        self._known = {(one.tier, one.sequence): one for one in listed}
        self._queues.ages = ages
        out = [one for one in listed if self._is_out(one)]
        self._claims = await self._read_claims(connection, out)
        self._moved = {(one.tier, one.sequence): self._progress(one, now) for one in out}
        self._told_for = None

    def facts(self, alive: Collection[str]) -> tuple[JobFact, ...]:
        """Give what was read last. alive: the nodes whose heart beats."""
        if self._told_for != alive:
            self._told = tuple(self._fact(one, alive) for one in self._listed)
            self._told_for = alive
        return self._told

    def _is_out(self, one: JobFact) -> bool:
        return one.sequence <= self._queues.delivered(one.tier, one.model)

    def _progress(self, one: JobFact, now: float) -> tuple[_Progress, float]:
        """Say what is saved of a job, and since when it is that."""
        holding = self._claims.get(claim_key(one.tenant, one.job))
        progress = None if holding is None else (holding.claim.items_done, holding.claim.tokens)
        before = self._moved.get((one.tier, one.sequence))
        return before if before is not None and before[0] == progress else (progress, now)

    def _fact(self, one: JobFact, alive: Collection[str]) -> JobFact:
        error = self._heard.errors.get((one.tenant, one.job), "")
        if not self._is_out(one):
            return msgspec.structs.replace(one, error=error) if error else one
        moved = self._moved.get((one.tier, one.sequence))
        moved_at = None if moved is None else moved[1]
        holding = self._claims.get(claim_key(one.tenant, one.job))
        if holding is None:
            return msgspec.structs.replace(one, state="held", moved_at=moved_at, error=error)
        claim = holding.claim
        state: JobState = "held" if claim.owner in alive else "between"
        return msgspec.structs.replace(
            one,
            state=state,
            node=claim.owner,
            attempts=claim.attempts,
            interruptions=claim.interruptions,
            isolated=claim.suspects >= SUSPECTS_MAX,
            items_done=claim.items_done,
            tokens_saved=claim.tokens,
            checkpoint_at=holding.written_at,
            moved_at=moved_at,
            error=error,
        )

    async def _oldest(self, connection: Connection, tier: Tier) -> list[JobFact]:
        found: list[JobFact] = []
        stream = job_stream(tier)
        jobs = queued(connection, stream, f"jobs.{tier}.>")
        try:
            async with aclosing(jobs):
                async for one in jobs:
                    self._budget.took(one.payload)
                    known = self._known.get((tier, one.sequence))
                    if known is None or known.queued_at != one.written_at:
                        known = _listed(tier, one)
                    if known is not None:
                        found.append(known)
                    if len(found) >= LISTED:
                        break
        except BrokerRefused:
            if self._queues.queues(tier):
                raise
        return found

    async def _ages(
        self, connection: Connection, tier: Tier, found: Iterable[JobFact]
    ) -> dict[tuple[Tier, str, str], Aged]:
        """Say how old each tenant's queue is, and how much of it waits where several share one."""
        oldest: dict[tuple[str, str], float] = {}
        for one in found:
            oldest.setdefault((one.model, one.tenant), one.queued_at)
        queues = self._queues.queues(tier)
        models = [model for model, _ in queues]
        ages: dict[tuple[Tier, str, str], Aged] = {}
        for model, tenant in queues:
            at, waiting = oldest.get((model, tenant)), None
            subject = f"jobs.{tier}.{model}.{tenant}"
            if at is None:
                first, _ = await self._first(connection, tier, subject, 0)
                at = first.written_at if first else None
            if models.count(model) > 1:
                behind = self._queues.delivered(tier, model)
                _, waiting = await self._first(connection, tier, subject, behind)
            ages[tier, model, tenant] = Aged(at, waiting)
        return ages

    async def _first(
        self, connection: Connection, tier: Tier, subject: str, after: int
    ) -> tuple[Stored | None, int]:
        first, count = await first_behind(connection, job_stream(tier), subject, after)
        self._budget.took(first.payload if first else b"")
        return first, count

    async def _read_claims(self, connection: Connection, out: list[JobFact]) -> dict[str, _Holding]:
        found: dict[str, _Holding] = {}
        keys = [claim_key(one.tenant, one.job) for one in out]
        start = len(bucket_subject(CLAIMS, ""))
        for place in range(0, len(keys), _CLAIMS_AT_ONCE):
            subjects = [
                bucket_subject(CLAIMS, key) for key in keys[place : place + _CLAIMS_AT_ONCE]
            ]
            read = await last_messages(connection, bucket_stream(CLAIMS), subjects)
            for subject, stored in read.items():
                self._budget.took(stored.payload)
                try:
                    claim = _decoder.decode(stored.payload)
                except (msgspec.MsgspecError, ValueError, RecursionError):
                    continue  # a marker, or foreign
                found[subject[start:]] = _Holding(claim, stored.written_at)
        return found


_decoder = msgspec.json.Decoder(_Claim)


def _listed(tier: Tier, one: Queued) -> JobFact | None:
    """Make what never changes of a job; None for what is none."""
    try:
        envelope = decode_envelope(
            one.subject, one.headers, stream=one.stream, sequence=one.sequence
        )
    except JobRejected:
        return None
    return JobFact(
        tier=tier,
        model=envelope.model,
        tenant=envelope.tenant,
        job=envelope.id,
        sequence=one.sequence,
        queued_at=one.written_at,
        state="waiting",
        batch=envelope.batch,
        items=_items(one.payload),
        deadline=envelope.deadline,
    )


def _items(payload: bytes) -> int | None:
    try:
        form = msgspec.json.decode(payload, type=_Form)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if form.input is not None:
        return form.input.count
    return 1 if form.requests is None else len(form.requests)


def _count(ids: msgspec.Raw) -> int:
    """Count the numbers of a JSON array."""
    text = bytes(ids)
    return text.count(b",") + 1 if len(text) > 2 else 0
