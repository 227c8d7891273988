"""How a job ends without an answer: when, and what its open items are told. Pure."""

from collections.abc import Container
from typing import Final

from fleet.job import CapacityType, FleetInfo, Job, ResultLine, Tier, WireError

# A real-time job that asks for longer gets this. Its stream keeps jobs for twice as long, so that
# each is told its end before it could be dropped without a word.
REALTIME_LONGEST_S: Final = 86_400.0

# The code of a job that came under an id which another one, with other content, had before.
CONFLICT: Final = "id_conflict"
EXPIRED: Final = WireError(
    code="expired",
    message="the deadline passed before the item was finished: allow more time or add capacity",
)
CANCELLED: Final = WireError(
    code="cancelled", message="the job, or the batch that it belongs to, was cancelled by its owner"
)
EXHAUSTED: Final = WireError(
    code="deliveries_exhausted",
    message="the broker delivers this job no more: its durable caps deliveries and none of them "
    "ended in a result; set max_deliver to -1 (`fleet doctor` shows it), then `fleet dead requeue`",
)


def deadline_of(
    *, deadline: float | None, tier: Tier, published_at: float, realtime_deadline_s: float
) -> float | None:
    """Say when a job ends at the latest, in seconds since the epoch; None for never.

    deadline: what the job asks for. published_at: by the server's clock. realtime_deadline_s: for
    real-time jobs that ask for nothing.
    """
    if tier is not Tier.REALTIME:
        return deadline
    latest = published_at + REALTIME_LONGEST_S
    return min(published_at + realtime_deadline_s if deadline is None else deadline, latest)


def lines_of(
    job: Job,
    error: WireError,
    *,
    done: Container[int],
    node: str,
    capacity_type: CapacityType | None = None,
    interruptions: int = 0,
) -> list[ResultLine]:
    """Make the lines of all items that have none yet. done: the indices of those that do."""
    return [
        ResultLine(
            id=f"{job.id}-{item.index}",
            custom_id=item.custom_id,
            error=error,
            fleet=FleetInfo(
                job=job.id,
                item=item.index,
                items=len(job.items),
                node=node,
                capacity_type=capacity_type,
                interruptions=interruptions,
            ),
        )
        for item in job.items
        if item.index not in done
    ]
