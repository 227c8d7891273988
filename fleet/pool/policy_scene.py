"""A snapshot, looked at: sums, prices, cooling zones, the demand, and what is usual."""

from typing import Final, NamedTuple

from msgspec.structs import replace

from fleet.pool import policy_spot
from fleet.pool.decision import Cooling, Memory
from fleet.pool.knobs import Knobs
from fleet.pool.policy_batch import Demand, demand, is_sane
from fleet.pool.policy_money import Prices, prices
from fleet.pool.policy_realtime import within
from fleet.pool.policy_zones import cool
from fleet.pool.snapshot import BecameReady, Crashed, Snapshot, Zone

# What a start-up takes, if it was measured at all.
LEAST_STARTUP_S: Final = 1.0
MOST_STARTUP_S: Final = 86_400.0


class Scene(NamedTuple):
    """What the rest of the policy works with. Nodes are counted over all zones."""

    snapshot: Snapshot
    now: float
    zones: tuple[Zone, ...]
    ready_spot: int
    held_spot: int
    ready_on_demand: int
    held_on_demand: int
    starting: int
    startup_s: float
    seen: Prices
    cooling: tuple[Cooling, ...]
    asked: Demand
    usual: policy_spot.Usual
    memory: Memory


def look(
    snapshot: Snapshot, zones: tuple[Zone, ...], knobs: Knobs, memory: Memory, *, for_s: float
) -> Scene:
    """Add up, check and remember. for_s: seconds since the last snapshot."""
    tuning = knobs.tuning
    startup_s = tuning.startup_s
    if snapshot.startup_s is not None and is_sane(snapshot.startup_s):
        startup_s = min(max(snapshot.startup_s, LEAST_STARTUP_S), MOST_STARTUP_S)
    item_s = snapshot.item_s if is_sane(snapshot.item_s) else memory.item_s
    ready = sum(zone.spot.ready for zone in zones)
    held = sum(zone.spot.held for zone in zones)
    on_demand = sum(zone.on_demand.held for zone in zones)
    asked = demand(snapshot, startup_s=startup_s, item_s=item_s, tuning=tuning)
    seen = prices(zones, knobs, memory, now=snapshot.now)
    usual = policy_spot.usual(memory, asked, knobs, ready=ready, held=held, for_s=for_s)
    cooling = cool(memory.cooling, snapshot.happened, now=snapshot.now, tuning=tuning)
    count, crashed_at = crashes_of(snapshot, memory)
    if memory.at is None:
        # After a restart the nodes themselves say what was decided before.
        live = within(on_demand, knobs)
        over = max(0, on_demand - live)
        memory = replace(memory, realtime=live, fallback=over, falls_back=over > 0, spot=held)
    return Scene(
        snapshot=snapshot,
        now=snapshot.now,
        zones=zones,
        ready_spot=ready,
        held_spot=held,
        ready_on_demand=sum(zone.on_demand.ready for zone in zones),
        held_on_demand=on_demand,
        starting=sum(zone.spot.starting + zone.on_demand.starting for zone in zones),
        startup_s=startup_s,
        seen=seen,
        cooling=cooling,
        asked=asked,
        usual=usual,
        memory=replace(
            memory,
            at=snapshot.now,
            usual_spot=usual.nodes,
            fill=usual.fill,
            item_s=item_s,
            on_demand_usd=seen.on_demand_usd,
            cooling=cooling,
            crashes=count,
            crashed_at=crashed_at,
        ),
    )


def crashes_of(snapshot: Snapshot, memory: Memory) -> tuple[int, float | None]:
    """Count the starts in a row that ended in a crash, and say when the last one did.

    Told twice, a crash counts once: what is no later than the last one was counted before.
    """
    crashes, at = memory.crashes, memory.crashed_at
    for one in sorted(snapshot.happened, key=lambda event: event.at):
        if isinstance(one, Crashed):
            if memory.crashed_at is not None and one.at <= memory.crashed_at:
                continue
            crashes, at = crashes + 1, min(one.at, snapshot.now)
        elif isinstance(one, BecameReady):
            crashes, at = 0, None
    return crashes, at if at is None else min(at, snapshot.now)
