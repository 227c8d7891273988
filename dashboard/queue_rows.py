"""Queues to rows: one for each tier, model and tenant, and one for all tenants of a queue. Pure."""

import math
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from dashboard.memo import once
from dashboard.overview import percentile
from dashboard.snapshot import FleetSnapshot, QueueFact, TenantQueue
from fleet.job import Tier

ALL: Final = "*"
# Jobs are counted and listed one after the other; so large a part is all of them.
_LISTED: Final = 0.95
_ORDER: Final = {tier: place for place, tier in enumerate(Tier)}


class QueueRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One queue, or one tenant's part of it. tenant: `*` for all of them together.

    jobs: all without an end. redelivered, stuck: only of a whole queue, the broker counts no finer.
    drain_s: until it is empty at the pace of the window; None where none is known. age_p95_s: 95 of
    100 of its jobs are younger; known only where all of them are listed.
    """

    key: str
    tier: Tier
    model: str
    tenant: str
    jobs: int | None
    waiting: int | None
    in_flight: int | None
    redelivered: int | None
    stuck: int | None
    oldest_s: float | None
    jobs_per_s: float | None
    drain_s: float | None
    dead: int | None
    paused_s: float = 0.0
    exists: bool = True
    age_p95_s: float | None = None


class QueueTotals(msgspec.Struct, frozen=True, kw_only=True):
    """All queues in one line; None for what any of them does not know."""

    waiting: int | None
    in_flight: int | None
    stuck: int | None
    dead: int | None
    oldest_s: float | None


@once
def queue_rows(snapshot: FleetSnapshot, window_s: float) -> list[QueueRow]:
    """Make the rows, urgent tiers first. A queue of one tenant has one row, with its name."""
    rows: list[QueueRow] = []
    ages = _Ages(snapshot)
    for queue in sorted(snapshot.queues, key=lambda one: (_ORDER[one.tier], one.model)):
        whole = _whole(queue, ages, window_s)
        if len(queue.tenants) == 1:
            tenant = queue.tenants[0].tenant
            rows.append(msgspec.structs.replace(whole, key=_key(queue, tenant), tenant=tenant))
            continue
        rows.append(whole)
        rows += [_part(queue, one, ages, window_s) for one in queue.tenants]
    return rows


def queue_totals(snapshot: FleetSnapshot) -> QueueTotals:
    """Add the queues up."""
    queues, dead = snapshot.queues, snapshot.dead_in_all
    if dead is None:
        dead = total(one.dead for queue in queues for one in queue.tenants)
    return QueueTotals(
        waiting=total(queue.waiting for queue in queues),
        in_flight=total(queue.in_flight for queue in queues),
        stuck=total(queue.stuck for queue in queues),
        dead=dead,
        oldest_s=_oldest([one for queue in queues for one in queue.tenants], snapshot.at),
    )


def total(numbers: Iterable[int | None]) -> int | None:
    """Add up what is known; None where one of several is not, or there are none."""
    found = list(numbers)
    known = [number for number in found if number is not None]
    return sum(known) if found and len(known) == len(found) else None


class _Ages:
    """How old the jobs of each queue are, as far as they are listed."""

    def __init__(self, snapshot: FleetSnapshot) -> None:
        self.now = snapshot.at
        self._ages: dict[tuple[str, str, str], list[float]] = {}
        for job in snapshot.jobs:
            queue = (job.tier, job.model, job.tenant)
            self._ages.setdefault(queue, []).append(max(0.0, self.now - job.queued_at))

    def p95_s(self, queue: QueueFact, tenants: Sequence[TenantQueue]) -> float | None:
        """Give the 95th percentile of all these tenants' jobs together, if all are listed.

        Those of single tenants could not be averaged.
        """
        stored = sum(one.stored for one in tenants)
        ages = [
            age
            for one in tenants
            for age in self._ages.get((queue.tier, queue.model, one.tenant), ())
        ]
        return percentile(ages, 0.95) if len(ages) >= stored * _LISTED else None


def _whole(queue: QueueFact, ages: _Ages, window_s: float) -> QueueRow:
    rates = [one.jobs_per_s.over(window_s) for one in queue.tenants]
    known = [rate for rate in rates if rate is not None]
    pace = math.fsum(known) if known else None
    jobs = sum(one.stored for one in queue.tenants)
    return QueueRow(
        key=_key(queue, ALL),
        tier=queue.tier,
        model=queue.model,
        tenant=ALL,
        jobs=jobs,
        waiting=queue.waiting,
        in_flight=queue.in_flight,
        redelivered=queue.redelivered,
        stuck=queue.stuck,
        oldest_s=_oldest(queue.tenants, ages.now),
        jobs_per_s=pace,
        drain_s=_drain_s(jobs, pace),
        dead=total(one.dead for one in queue.tenants),
        paused_s=queue.paused_s,
        exists=queue.exists,
        age_p95_s=ages.p95_s(queue, queue.tenants),
    )


def _part(queue: QueueFact, one: TenantQueue, ages: _Ages, window_s: float) -> QueueRow:
    pace = one.jobs_per_s.over(window_s)
    return QueueRow(
        key=_key(queue, one.tenant),
        tier=queue.tier,
        model=queue.model,
        tenant=one.tenant,
        jobs=one.stored,
        waiting=one.waiting,
        in_flight=None if one.waiting is None else max(0, one.stored - one.waiting),
        redelivered=None,
        stuck=None,
        oldest_s=_oldest([one], ages.now),
        jobs_per_s=pace,
        drain_s=_drain_s(one.stored, pace),
        dead=one.dead,
        paused_s=queue.paused_s,
        exists=queue.exists,
        age_p95_s=ages.p95_s(queue, [one]),
    )


def _key(queue: QueueFact, tenant: str) -> str:
    return f"{queue.tier}.{queue.model}.{tenant}"


def _oldest(tenants: Sequence[TenantQueue], now: float) -> float | None:
    known = [one.oldest_at for one in tenants if one.oldest_at is not None]
    return max(0.0, now - min(known)) if known else None


def _drain_s(jobs: int, pace: float | None) -> float | None:
    if jobs == 0:
        return 0.0
    return jobs / pace if pace else None
