"""Jobs and batches to rows, and which of them are in trouble. Pure."""

from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeAlias, overload

import msgspec

from dashboard.memo import once
from dashboard.snapshot import BatchFact, FleetSnapshot, JobFact, JobState
from fleet.job import Tier

# A job that is held, and of which nothing was saved for so long, does not move: checkpoints are
# written every few seconds.
STUCK_S: Final = 60.0
TroubleState: TypeAlias = Literal["stuck", "suspect", "failing", "late"]
Trouble: TypeAlias = TroubleState | Literal[""]


class JobRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A job without an end. progress: share of 0 to 1 of its items; None where not known.

    age_s: since it was stored. checkpoint_age_s: since a checkpoint last held more than the one
    before; None while nothing of it was saved. expires_in_s: negative once its deadline passed.
    trouble: stuck: a node has it and nothing of it moves; suspect: it may kill engines; failing: by
    its own fault; late: past its deadline.
    """

    key: str
    tier: Tier
    model: str
    tenant: str
    job: str
    batch: str | None
    state: JobState
    node: str | None
    progress: float | None
    items: int | None
    attempts: int
    interruptions: int
    age_s: float
    checkpoint_age_s: float | None
    expires_in_s: float | None
    trouble: Trouble = ""
    error: str = ""


class BatchRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A batch. progress: share of 0 to 1; eta_s: until it is done at the pace of the window.

    expires_in_s: until its deadline, negative once that passed. is_late: at this pace, or by the
    word of its pool's manager, the deadline is not met.
    """

    key: str
    tenant: str
    batch: str
    model: str
    tier: Tier
    state: str
    items: int
    done: int | None
    failed: int | None
    progress: float | None
    items_per_s: float | None
    eta_s: float | None
    expires_in_s: float | None
    age_s: float
    is_late: bool = False
    at_risk: str = ""


class JobRows(Sequence[JobRow]):
    """Rows that are made when they are asked for: of ten thousand jobs a screen shows thirty."""

    def __init__(self, jobs: Sequence[JobFact], now: float) -> None:
        self._jobs = jobs
        self._now = now

    def __len__(self) -> int:
        return len(self._jobs)

    @overload
    def __getitem__(self, at: int) -> JobRow: ...

    @overload
    def __getitem__(self, at: slice) -> "JobRows": ...

    def __getitem__(self, at: int | slice) -> "JobRow | JobRows":
        if isinstance(at, slice):
            return JobRows(self._jobs[at], self._now)
        return _job(self._jobs[at], self._now)

    def where(self, holds: Callable[[JobFact], bool]) -> "JobRows":
        """Give those of jobs of which something holds."""
        return JobRows([job for job in self._jobs if holds(job)], self._now)


@once
def job_rows(snapshot: FleetSnapshot) -> JobRows:
    """Make the rows: those in trouble first, then those that are held, then the oldest."""
    jobs = snapshot.jobs
    keys = [
        (not trouble, job.state == "waiting", job.queued_at)
        for job, trouble in zip(jobs, _troubles(snapshot), strict=True)
    ]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return JobRows([jobs[at] for at in order], snapshot.at)


def troubled(snapshot: FleetSnapshot) -> list[JobRow]:
    """Make the rows of jobs in trouble alone, in the same order: most have none."""
    pairs = zip(snapshot.jobs, _troubles(snapshot), strict=True)
    rows = [_job(job, snapshot.at) for job, trouble in pairs if trouble]
    rows.sort(key=lambda row: -row.age_s)
    return rows


@once
def _troubles(snapshot: FleetSnapshot) -> list[Trouble]:
    now = snapshot.at
    return [_trouble(job, now) for job in snapshot.jobs]


@once
def batch_rows(snapshot: FleetSnapshot, window_s: float) -> list[BatchRow]:
    """Make the rows: open batches first, those that are late before others, then the newest."""
    rows = [_batch(one, snapshot.at, window_s) for one in snapshot.batches]
    rows.sort(key=lambda row: (not _is_open(row), not row.is_late, row.age_s))
    return rows


def _job(job: JobFact, now: float) -> JobRow:
    age_s = max(0.0, now - job.queued_at)
    saved_at = saved_since(job)
    saved_s = None if saved_at is None else max(0.0, now - saved_at)
    left_s = None if job.deadline is None else job.deadline - now
    return JobRow(
        key=key_of(job),
        tier=job.tier,
        model=job.model,
        tenant=job.tenant,
        job=job.job,
        batch=job.batch,
        state=job.state,
        node=job.node,
        progress=_progress(job),
        items=job.items,
        attempts=job.attempts,
        interruptions=job.interruptions,
        age_s=age_s,
        checkpoint_age_s=saved_s,
        expires_in_s=left_s,
        trouble=_trouble(job, now),
        error=job.error,
    )


def key_of(job: JobFact) -> str:
    """Name a job's row: an id may be stored twice, a place only once."""
    return f"{job.tier}.{job.sequence}"


def saved_since(job: JobFact) -> float | None:
    """Say since when what is saved of a job is as it is; None while nothing is."""
    if job.checkpoint_at is None or job.moved_at is None:
        return job.checkpoint_at
    return min(job.checkpoint_at, job.moved_at)


def _progress(job: JobFact) -> float | None:
    if job.state == "waiting":
        return 0.0
    if not job.items or job.items_done is None:
        return None
    return min(job.items, job.items_done) / job.items


def _trouble(job: JobFact, now: float) -> Trouble:
    if job.isolated:
        return "suspect"
    if job.deadline is not None and job.deadline < now:
        return "late"
    if job.state == "held" and (_is_old(job.checkpoint_at, now) or _is_old(job.moved_at, now)):
        return "stuck"
    return "failing" if job.attempts else ""


def _is_old(at: float | None, now: float) -> bool:
    return at is not None and now - at > STUCK_S


def _batch(one: BatchFact, now: float, window_s: float) -> BatchRow:
    left_s = None if one.deadline is None else one.deadline - now
    pace = one.items_per_s.over(window_s)
    eta_s = None
    if one.done is not None and one.done >= one.items:
        eta_s = 0.0
    elif one.done is not None and pace:
        eta_s = (one.items - one.done) / pace
    is_open = one.state in {"submitting", "submitted"}
    return BatchRow(
        key=f"{one.tenant}/{one.batch}",
        tenant=one.tenant,
        batch=one.batch,
        model=one.model,
        tier=one.tier,
        state=one.state,
        items=one.items,
        done=one.done,
        failed=one.failed,
        progress=None if one.done is None or not one.items else min(1.0, one.done / one.items),
        items_per_s=pace,
        eta_s=eta_s if is_open else None,
        expires_in_s=left_s,
        age_s=max(0.0, now - one.created_at),
        is_late=is_open and (bool(one.at_risk) or _misses(eta_s, left_s)),
        at_risk=one.at_risk,
    )


def _misses(eta_s: float | None, left_s: float | None) -> bool:
    if left_s is None or eta_s == 0.0:
        return False
    return left_s < 0 or (eta_s is not None and eta_s > left_s)


def _is_open(row: BatchRow) -> bool:
    return row.state in {"submitting", "submitted", "cancelling"}
