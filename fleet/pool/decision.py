"""What the policy decides, why, and what it has to remember until the next time."""

from typing import Literal, TypeAlias

import msgspec

from fleet.job import CapacityType

# Why less happens than could, or something does: for machines. The text beside it is for people.
Code: TypeAlias = Literal[
    "spot_target",  # how much spot is wanted, and why
    "spot_scarce",  # wanted spot is usually not there: all there is is taken
    "credit",  # spot that usually is there counts as if it were
    "deficit",  # on-demand nodes stand in for spot
    "last_call",  # a deadline is so close that only what is ready counts
    "holding",  # on-demand nodes are kept although less is needed
    "realtime",  # nodes for real-time, by load
    "not_pressing",  # work waits for spot, and has the time
    "no_spot",  # every zone that is cheap enough is cooling off
    "price_over_ceiling",
    "price_unknown",
    "price_stale",
    "quota",
    "throttled",
    "out_of_stock",  # no zone has on-demand nodes
    "budget",
    "most_spot",
    "most_on_demand",
    "launch_cap",
    "crash_loop",
    "cold_start",
    "late",  # deadlines that have passed
    "pace_unknown",
    "data_missing",
    "clock_jump",
    "paused",
    "dear",  # spot that costs more than on-demand is given back
    "surplus",  # more nodes than wanted
    "idle",  # no work at all
]


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One reason of a decision. text: whole, with its numbers."""

    code: Code
    text: str


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """Launch so many nodes in this zone."""

    capacity_type: CapacityType
    zone: str
    count: int
    why: str


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """Give so many nodes of this zone back: those that start or idle first, then by draining."""

    capacity_type: CapacityType
    zone: str
    count: int
    why: str


class AtRisk(msgspec.Struct, frozen=True, kw_only=True):
    """A batch whose deadline will not be met as things stand.

    short_by: how many nodes are missing for it. late_s: by how much it would be late, None where no
    node works at all.
    """

    batch: str
    deadline: float
    short_by: float
    late_s: float | None
    why: Code


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers behind a decision, in nodes unless the name says otherwise.

    required: r, the least constant number that meets every deadline. keep: the same, of deadlines
    that are too close for new nodes. credit: K, what spot counts for. deficit: r - K. last_call:
    what the closest deadlines need beyond the spot that is ready; last_call_at: from when on any
    will be that close, seconds since the epoch, None without deadlines. most_on_demand: O's limit.
    on_demand_need: the larger of both, less what the real-time pool can spare. usual_spot: its mean
    over hours. fill: share of the wanted spot that is usually held. work_h: node-hours left.
    spend_usd_per_h: of what is held; None where a price is missing.
    """

    required: float = 0.0
    keep: float = 0.0
    credit: float = 0.0
    deficit: float = 0.0
    last_call: float = 0.0
    on_demand_need: float = 0.0
    ready_spot: int = 0
    held_spot: int = 0
    ready_on_demand: int = 0
    held_on_demand: int = 0
    usual_spot: float = 0.0
    fill: float = 1.0
    work_h: float = 0.0
    startup_s: float = 0.0
    last_call_at: float | None = None
    most_on_demand: int = 0
    spend_usd_per_h: float | None = None


class Cooling(msgspec.Struct, frozen=True, kw_only=True):
    """A zone that is left alone, and since when and why. strikes: failures in a row."""

    zone: str
    capacity_type: CapacityType
    since: float
    for_s: float
    why: Literal["reclaimed", "capacity", "quota", "throttled", "other"]
    strikes: int = 1


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy knows from before. `Memory()` after a restart costs some money, no deadline.

    at: time of the last snapshot, None before the first. spot: nodes wanted last. usual_spot: None
    before the first. fallback: on-demand nodes that batches were given last; lower_since: since
    when fewer would do; falls_back: whether on-demand nodes might pull batch jobs. realtime: nodes
    that real-time was given last. item_s, on_demand_usd: last known. crashes: starts in a row that
    ended in a crash; crashed_at: the last of them.
    """

    at: float | None = None
    spot: int = 0
    usual_spot: float | None = None
    fill: float = 1.0
    fallback: int = 0
    falls_back: bool = False
    lower_since: float | None = None
    realtime: int | None = None
    realtime_lower_since: float | None = None
    item_s: float | None = None
    on_demand_usd: float | None = None
    cooling: tuple[Cooling, ...] = ()
    crashes: int = 0
    crashed_at: float | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to do now. Targets are in nodes; launches and releases are the steps towards them.

    spot: S. fallback: O, on-demand nodes for batches. realtime: on-demand nodes for real-time.
    batch_fallback: whether on-demand nodes may pull batch jobs. carry_out: False when the manager
    is paused, and all this is only what it would do.
    """

    at: float
    spot: int
    fallback: int
    realtime: int
    batch_fallback: bool
    launches: tuple[Launch, ...]
    releases: tuple[Release, ...]
    reasons: tuple[Reason, ...]
    at_risk: tuple[AtRisk, ...]
    figures: Figures
    memory: Memory
    carry_out: bool = True

    @property
    def on_demand(self) -> int:
        """All on-demand nodes that are wanted."""
        return self.realtime + self.fallback


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """Why a batch waits, and for how long.

    eta: when its last item will be done, seconds since the epoch; None where nothing works for it.
    latest_switch: the last moment at which on-demand nodes alone, as many as may be had, still meet
    its deadline; None without a deadline. ahead_h: node-hours of work until it is done, its own
    included; None where no pace is known.
    """

    batch: str
    deadline: float | None
    eta: float | None
    latest_switch: float | None
    ahead_h: float | None
    reasons: tuple[Reason, ...]
