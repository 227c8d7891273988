"""From what is known of batches, queues and events to the work that is left. Pure.

The records of what was done may come late, or be lost; the queue is exact and knows no batches. So
the records say how far each batch is, and the queue how many jobs are left in all.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from fleet.manifest import Manifest, starts
from fleet.pool.progress import Progress
from fleet.pool.snapshot import Work
from fleet.subjects import NO_BATCH, batch_key

BACKGROUND: Final = "background"


class Submitted(NamedTuple):
    """A batch whose jobs are in the queue, or were. items: of these jobs."""

    name: str
    tenant: str
    jobs: int
    items: int
    deadline: float | None
    created_at: float


def submitted(manifest: Manifest) -> Submitted:
    """Say what of a batch is in the queue; what is not may never come."""
    return Submitted(
        name=batch_key(manifest.tenant, manifest.id),
        tenant=manifest.tenant,
        jobs=manifest.submitted_jobs,
        items=starts(manifest.layout)[manifest.submitted_jobs],
        deadline=manifest.deadline,
        created_at=manifest.created_at,
    )


def workload(
    batches: Iterable[Submitted],
    progress: Progress,
    queued: Mapping[str, int],
    *,
    background: int,
) -> tuple[Work, ...]:
    """Say what is left. queued: batch jobs by tenant; background: jobs of that tier."""
    by_tenant: dict[str, list[Submitted]] = {}
    for batch in batches:
        by_tenant.setdefault(batch.tenant, []).append(batch)
    found: list[Work] = []
    for tenant, jobs in queued.items():
        mine = sorted(by_tenant.get(tenant, ()), key=lambda batch: batch.created_at)
        left = [max(0, batch.items - progress.done(batch.name)) for batch in mine]
        left = _cut(mine, left, jobs)
        found += (
            Work(
                name=batch.name, items=items, deadline=batch.deadline,
                item_s=progress.item_s(batch.name), submitted_at=batch.created_at,
            )
            for batch, items in zip(mine, left, strict=True)
            if items > 0
        )  # fmt: skip
        # Each open job of a batch has one open item at least; the other jobs are of no batch.
        most = sum(min(batch.jobs, items) for batch, items in zip(mine, left, strict=True))
        if jobs > most:
            found.append(Work(name=batch_key(tenant, NO_BATCH), items=jobs - most))
    if background > 0:
        found.append(Work(name=BACKGROUND, items=background))
    return tuple(found)


def _cut(batches: Sequence[Submitted], left: Sequence[int], jobs: int) -> list[int]:
    """Leave no batch more than the queue has room for: the oldest are served first."""
    kept: list[int] = []
    room = jobs
    for batch, items in zip(reversed(batches), reversed(left), strict=True):
        size = batch.items / batch.jobs if batch.jobs else 1.0
        taken = min(room, math.ceil(items / size))
        kept.append(min(items, math.ceil(taken * size)))
        room -= taken
    return kept[::-1]
