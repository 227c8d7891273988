"""The two postures: which tiers a consumer pulls, and at which priority."""

import math

import msgspec

from fleet.job import CapacityType, Tier


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """One durable that a consumer pulls from.

    priority: of its pulls, 0 first; None where the durable has no priority group. slots: room for
    items. job_items: how many items to expect of the first job. fallback: pull only while the pool
    manager says that a completion window is at risk.
    """

    tier: Tier
    slots: int
    priority: int | None = None
    job_items: int = 1
    fallback: bool = False


def intents(capacity_type: CapacityType, slots: int) -> tuple[Intent, ...]:
    """Return what a consumer with `slots` engine slots pulls.

    On-demand keeps half of its slots free of anything but real-time: an engine that is full of
    batch items makes a real-time request wait for one of them to end. Its background pulls come
    second (priority 1), so the server gives a job to spot first and to on-demand at once when no
    spot pull waits.
    """
    half = max(1, slots // 2)
    if capacity_type == "spot":
        return (
            Intent(tier=Tier.BACKGROUND, slots=half, priority=0),
            Intent(tier=Tier.BATCH, slots=slots, job_items=slots),
        )
    return (
        Intent(tier=Tier.REALTIME, slots=slots),
        Intent(tier=Tier.BACKGROUND, slots=half, priority=1),
        Intent(tier=Tier.BATCH, slots=max(1, math.ceil(half / 2)), job_items=slots, fallback=True),
    )
