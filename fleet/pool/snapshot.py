"""What the pool manager sees at one moment: work, nodes by zone, prices, and what just happened.

One snapshot is about one pool: the nodes that serve one model on machines of about the same speed.
Nodes are counted, not listed, so that a tick costs the same for ten nodes and for ten thousand.
None means "could not be read", which is another thing than zero: the policy holds then.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from fleet.job import CapacityType

NodePhase: TypeAlias = Literal["starting", "ready", "leaving"]
# In which order the queue serves its batches. JetStream serves by arrival.
Order: TypeAlias = Literal["deadline", "arrival"]
# capacity: the zone has none left. quota: the account may have no more. throttled: too many calls.
Refusal: TypeAlias = Literal["capacity", "quota", "throttled", "other"]


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of one batch.

    name: `<tenant>.<batch>`. items: those without a result. deadline: seconds since the epoch, None
    for a batch that may take its time. item_s: node-seconds that one item takes, as measured; None
    where nothing was measured, and the pool's own figure counts. submitted_at: seconds since the
    epoch.
    """

    name: str
    items: int
    deadline: float | None = None
    item_s: float | None = None
    submitted_at: float = 0.0


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes of one capacity type in one zone. idle: of those that are ready.

    leaving: drained, under notice, or told to go; they are paid for, and count for nothing else.
    """

    starting: int = 0
    ready: int = 0
    idle: int = 0
    leaving: int = 0

    @property
    def held(self) -> int:
        """Those that work, or will."""
        return self.starting + self.ready


class Zone(msgspec.Struct, frozen=True, kw_only=True):
    """A zone in which nodes may be launched.

    spot_usd, on_demand_usd: the price of one node for an hour; None where it is not known.
    priced_at: when these were true, seconds since the epoch; None for "now". reclaims_per_h: how
    often a spot node is taken away in an hour of its life, as measured.
    """

    name: str
    spot: Count = Count()
    on_demand: Count = Count()
    spot_usd: float | None = None
    on_demand_usd: float | None = None
    priced_at: float | None = None
    reclaims_per_h: float = 0.0


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """Real-time work. busy: how many on-demand nodes it would keep busy, waiting jobs included.

    spare: how many nodes' worth of the real-time pool batch jobs may use for now; already paid.
    """

    busy: float
    spare: float = 0.0


class Reclaimed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The cloud took spot nodes away, or said that it will."""

    zone: str
    at: float
    count: int = 1


class LaunchFailed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A launch was refused, in part or whole."""

    zone: str
    at: float
    capacity_type: CapacityType
    refusal: Refusal = "capacity"


class Launched(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A launch was granted in full: the zone has capacity."""

    zone: str
    at: float
    capacity_type: CapacityType


class Crashed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A node ended by its own fault before it was ready."""

    zone: str
    at: float
    capacity_type: CapacityType


class BecameReady(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A node that was launched is ready."""

    zone: str
    at: float
    capacity_type: CapacityType


Happening: TypeAlias = Reclaimed | LaunchFailed | Launched | Crashed | BecameReady


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All that a decision rests on, but for what the policy remembers.

    now: seconds since the epoch. work: None when the queue could not be read. zones: None when the
    provider did not say which nodes there are. load: None when real-time load is not known.
    startup_s: from launch to ready, the 90th percentile as measured. item_s: node-seconds that one
    item takes on average. happened: since the last snapshot, in any order. paused: the operator
    stopped the manager; it looks on and says what it would do.
    """

    now: float
    work: tuple[Work, ...] | None
    zones: tuple[Zone, ...] | None
    load: Load | None = None
    startup_s: float | None = None
    item_s: float | None = None
    happened: tuple[Happening, ...] = ()
    order: Order = "deadline"
    paused: bool = False


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One node of a pool, as the provider and its heartbeat together tell."""

    name: str
    zone: str
    capacity_type: CapacityType
    phase: NodePhase
    idle: bool = False
    launched_at: float = 0.0


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What a node costs for an hour in one zone; see `Zone`."""

    spot_usd: float | None = None
    on_demand_usd: float | None = None
    at: float | None = None
    reclaims_per_h: float = 0.0


_UNPRICED: Final = Price()


def count(members: Iterable[Member], prices: Mapping[str, Price]) -> tuple[Zone, ...]:
    """Count the members by zone, for every zone that has a price or a member, in order of name."""
    tally: dict[tuple[str, CapacityType], dict[str, int]] = {}
    for one in members:
        here = tally.setdefault((one.zone, one.capacity_type), {})
        here[one.phase] = here.get(one.phase, 0) + 1
        if one.idle and one.phase == "ready":
            here["idle"] = here.get("idle", 0) + 1
    names = sorted({*prices, *(zone for zone, _ in tally)})
    return tuple(
        Zone(
            name=name,
            spot=Count(**tally.get((name, "spot"), {})),
            on_demand=Count(**tally.get((name, "on-demand"), {})),
            spot_usd=(price := prices.get(name, _UNPRICED)).spot_usd,
            on_demand_usd=price.on_demand_usd,
            priced_at=price.at,
            reclaims_per_h=price.reclaims_per_h,
        )
        for name in names
    )
