"""From what is held to what is wanted: which zones get nodes, and which give some back."""

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from fleet.job import CapacityType
from fleet.pool.decision import Code, Launch, Reason, Release
from fleet.pool.knobs import Knobs
from fleet.pool.policy_money import bought
from fleet.pool.policy_scene import Scene
from fleet.pool.policy_targets import Targets
from fleet.pool.policy_words import nodes
from fleet.pool.policy_zones import EVERYWHERE, active, cost, give_back, place, why_cooling
from fleet.pool.snapshot import Count, Zone

# Between two tries of a pool whose nodes crash, doubled with each crash.
FIRST_PAUSE_S: Final = 60.0


class Steps(NamedTuple):
    """What is to be done. refused: why fewer on-demand nodes can be had than are wanted.

    on_demand: how many there will be when all this is done.
    """

    launches: tuple[Launch, ...]
    releases: tuple[Release, ...]
    reasons: tuple[Reason, ...]
    on_demand: int
    refused: Code | None


class _Launching(NamedTuple):
    launches: list[Launch]
    reasons: list[Reason]
    refused: Code | None

    @property
    def nodes(self) -> int:
        return sum(one.count for one in self.launches)


def steps(scene: Scene, wanted: Targets, knobs: Knobs) -> Steps:
    """Plan the launches, on-demand first, and what is given back."""
    allowed, reasons = _allowed(scene, knobs)
    more_on_demand = max(0, wanted.on_demand - scene.held_on_demand)
    more_spot = max(0, wanted.spot - scene.held_spot + _to_replace(scene))
    wished = more_on_demand + more_spot
    more_on_demand, more_spot = _payable(scene, wanted, knobs, more_on_demand, more_spot)
    on_demand = _launch(scene, "on-demand", min(more_on_demand, allowed), wanted, knobs)
    spot = _launch(scene, "spot", min(more_spot, allowed - on_demand.nodes), wanted, knobs)
    missing = more_on_demand + more_spot
    if allowed < missing and not reasons:
        text = f"{nodes(missing)} are missing, {allowed} at most are launched at once"
        reasons.append(Reason(code="launch_cap", text=text))
    if missing < wished:
        text = f"launched when others are gone and it can be paid: {nodes(wished - missing)}"
        reasons.append(Reason(code="budget", text=text))
    releases, said = _releases(scene, wanted)
    will_be = scene.held_on_demand + on_demand.nodes
    return Steps(
        launches=(*on_demand.launches, *spot.launches),
        releases=tuple(releases),
        reasons=(*reasons, *on_demand.reasons, *spot.reasons, *said),
        on_demand=will_be if on_demand.refused else max(wanted.on_demand, will_be),
        refused=on_demand.refused,
    )


def _payable(
    scene: Scene, wanted: Targets, knobs: Knobs, on_demand: int, spot: int
) -> tuple[int, int]:
    """Launch what can be paid beside all that is still there, and the baseline in any case."""
    spent, usd = wanted.figures.spend_usd_per_h, scene.seen.on_demand_usd
    if knobs.budget_usd_per_h is None or spent is None or usd is None:
        return on_demand, spot
    left_usd = knobs.budget_usd_per_h - spent
    for_baseline = min(on_demand, max(0, knobs.baseline - scene.held_on_demand))
    on_demand = max(for_baseline, bought(left_usd, usd, on_demand))
    spot_usd = max((scene.seen.spot[name] for name in scene.seen.cheap), default=usd)
    return on_demand, bought(left_usd - on_demand * usd, spot_usd, spot)


def _to_replace(scene: Scene) -> int:
    """Count the spot that costs too much to stay: its successors are launched beside it."""
    if scene.snapshot.work is None:
        return 0
    return sum(zone.spot.held for zone in scene.zones if zone.name in scene.seen.dear)


def _allowed(scene: Scene, knobs: Knobs) -> tuple[int, list[Reason]]:
    """Say how many nodes may be launched now: few, when those before them crashed."""
    tuning, memory = knobs.tuning, scene.memory
    if memory.crashes < tuning.crashes:
        return tuning.launches_per_tick, []
    since_s = scene.now - (memory.crashed_at or 0.0)
    more = min(memory.crashes - tuning.crashes, 10)
    pause_s = min(tuning.cool_failed_s, FIRST_PAUSE_S * 2**more)
    allowed = 1 if scene.starting == 0 and since_s >= pause_s else 0
    text = (
        f"the last {memory.crashes} starts ended in a crash: one node at a time is tried, "
        f"{pause_s:.0f} s after the last; see its log"
    )
    return allowed, [Reason(code="crash_loop", text=text)]


def _launch(
    scene: Scene, kind: CapacityType, count: int, wanted: Targets, knobs: Knobs
) -> _Launching:
    if count <= 0:
        return _Launching([], [], None)
    sold = _sold(scene, kind)
    names = [zone.name for zone in sold]
    asked = active(names, kind, scene.cooling, now=scene.now, tuning=knobs.tuning)
    if not asked:
        code, text = _why_none(scene, kind, count)
        is_told = bool(scene.zones) and not names
        return _Launching([], [] if is_told else [Reason(code=code, text=text)], code)
    options = [(z.name, _cost(scene, z, kind), _count(z, kind).held)
               for z in sold if z.name in asked]  # fmt: skip
    chosen = Counter(place(options, count))
    why = (
        f"S = {wanted.spot}, {scene.held_spot} held"
        if kind == "spot"
        else f"N = {wanted.realtime} and O = {wanted.fallback}, {scene.held_on_demand} held"
    )
    launches = [
        Launch(capacity_type=kind, zone=zone, count=number, why=why)
        for zone, number in sorted(chosen.items())
    ]
    return _Launching(launches, [], None)


def _sold(scene: Scene, kind: CapacityType) -> Sequence[Zone]:
    """Return the zones in which nodes of this kind may be asked for."""
    if kind == "spot":
        return [zone for zone in scene.zones if zone.name in scene.seen.cheap]
    priced = [zone for zone in scene.zones if zone.name in scene.seen.on_demand]
    return priced or scene.zones


def _why_none(scene: Scene, kind: CapacityType, count: int) -> tuple[Code, str]:
    if not scene.zones:
        words = f"{nodes(count, kind)} cannot be had: no zone is known"
        return "no_spot" if kind == "spot" else "out_of_stock", words
    who = why_cooling(scene.cooling, kind, now=scene.now)
    words = f"{nodes(count, kind)} cannot be had now, cooling off: {who}"
    for one in scene.cooling:
        if one.zone == EVERYWHERE and one.capacity_type == kind:
            return "throttled" if one.why == "throttled" else "quota", words
    return "no_spot" if kind == "spot" else "out_of_stock", words


def _releases(scene: Scene, wanted: Targets) -> tuple[list[Release], list[Reason]]:
    """Give back what is too much; nothing while the queue cannot be read."""
    if scene.snapshot.work is None:
        return [], []
    found: list[Release] = []
    reasons: list[Reason] = []
    kinds: tuple[tuple[CapacityType, int, int], ...] = (
        ("spot", scene.held_spot, wanted.spot),
        ("on-demand", scene.held_on_demand, wanted.on_demand),
    )
    for kind, held, target in kinds:
        if held > target:
            why = f"{nodes(held, kind)} held, {target} wanted"
            found += _give_back(scene, kind, held - target, scene.zones, why)
            reasons.append(Reason(code="surplus", text=why))
    if scene.held_spot <= wanted.spot:
        found += _dear(scene, wanted, reasons)
    return found, reasons


def _dear(scene: Scene, wanted: Targets, reasons: list[Reason]) -> list[Release]:
    """Give back spot that costs more than on-demand, as far as other nodes do its work."""
    zones = [zone for zone in scene.zones if zone.name in scene.seen.dear and zone.spot.held]
    if not zones:
        return []
    for_batches = max(0, scene.ready_on_demand - wanted.realtime)
    over = int(scene.ready_spot + for_batches - wanted.figures.required)
    loose = sum(zone.spot.starting + zone.spot.idle for zone in zones)
    number = min(sum(zone.spot.held for zone in zones), max(over, loose, 0))
    why = f"spot costs no less than on-demand in {', '.join(zone.name for zone in zones)}"
    reasons.append(Reason(code="dear", text=f"{why}: {nodes(number)} given back now"))
    return _give_back(scene, "spot", number, zones, why)


def _give_back(
    scene: Scene, kind: CapacityType, number: int, zones: Sequence[Zone], why: str
) -> list[Release]:
    options = []
    for zone in zones:
        here = _count(zone, kind)
        options.append((zone.name, _cost(scene, zone, kind), here.held, here.starting + here.idle))
    taken = Counter(give_back(options, number))
    return [
        Release(capacity_type=kind, zone=zone, count=many, why=why)
        for zone, many in sorted(taken.items())
    ]


def _count(zone: Zone, kind: CapacityType) -> Count:
    return zone.spot if kind == "spot" else zone.on_demand


def _cost(scene: Scene, zone: Zone, kind: CapacityType) -> float:
    """Compare zones by this; one without a price comes last."""
    if kind == "spot":
        return cost(zone, scene.seen.spot.get(zone.name, 1e9), scene.startup_s)
    return scene.seen.on_demand.get(zone.name, 1e9)
