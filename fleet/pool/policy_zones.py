"""Which zones are left alone for a while, and where nodes go, or are given back."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from fleet.job import CapacityType
from fleet.pool.decision import Cooling
from fleet.pool.knobs import Tuning
from fleet.pool.policy_batch import is_sane
from fleet.pool.snapshot import Happening, Launched, LaunchFailed, Reclaimed, Zone

# What concerns an account, and so every zone of it, is kept under this name.
EVERYWHERE: Final = ""
# Nodes are spread over so many zones at least, where there are as many.
SPREAD: Final = 3
# Zones whose nodes cost up to so many times as much as the cheapest count as equally cheap.
ABOUT_AS_CHEAP: Final = 1.1
THROTTLED_S: Final = 60.0
# A zone that fails again and again is asked less and less often, up to so many times.
MOST_PATIENCE: Final = 4
# However wild a zone is, some of an hour there is useful.
LEAST_USEFUL: Final = 0.1
# A strike is forgotten when a zone has been without one for so many times its cooling-off.
FORGET: Final = 3.0


def cool(
    before: Sequence[Cooling], happened: Iterable[Happening], *, now: float, tuning: Tuning
) -> tuple[Cooling, ...]:
    """Note which zones failed us, and forget what is long past. Told twice, it counts once."""
    kept = {
        # A clock that was set back must not make a zone wait for longer.
        (one.zone, one.capacity_type): msgspec.structs.replace(one, since=min(one.since, now))
        for one in before
        if now - one.since < one.for_s * FORGET
    }
    for one in sorted(happened, key=lambda event: event.at):
        match one:
            case Reclaimed(zone=zone, at=at):
                key: tuple[str, CapacityType] = (zone, "spot")
                kept[key] = Cooling(zone=zone, capacity_type="spot", since=min(at, now),
                                    for_s=tuning.cool_reclaimed_s, why="reclaimed")  # fmt: skip
            case LaunchFailed():
                failed = _failed(one, kept, now, tuning)
                kept[failed.zone, failed.capacity_type] = failed
            case Launched(zone=zone, capacity_type=kind):
                if (zone, kind) in kept and kept[zone, kind].why == "capacity":
                    del kept[zone, kind]
            case _:
                pass
    return tuple(kept.values())


def _failed(
    one: LaunchFailed, kept: dict[tuple[str, CapacityType], Cooling], now: float, tuning: Tuning
) -> Cooling:
    zone = EVERYWHERE if one.refusal in {"quota", "throttled"} else one.zone
    since = min(one.at, now)
    if one.refusal == "throttled":
        return Cooling(zone=zone, capacity_type=one.capacity_type, since=since,
                       for_s=THROTTLED_S, why="throttled")  # fmt: skip
    earlier = kept.get((zone, one.capacity_type))
    if earlier and earlier.why == one.refusal and earlier.since >= since:
        # Told before.
        return earlier
    strikes = 1 + (earlier.strikes if earlier and earlier.why == one.refusal else 0)
    for_s = tuning.cool_failed_s * min(2 ** (strikes - 1), MOST_PATIENCE)
    if earlier:
        # It was reclaimed a moment ago, perhaps: that counts for longer.
        for_s = max(for_s, earlier.since + earlier.for_s - since)
    return Cooling(zone=zone, capacity_type=one.capacity_type, since=since, for_s=for_s,
                   why=one.refusal, strikes=strikes)  # fmt: skip


def active(
    names: Sequence[str],
    kind: CapacityType,
    cooling: Sequence[Cooling],
    *,
    now: float,
    tuning: Tuning,
) -> set[str]:
    """Return the zones that may be asked for nodes of this kind.

    With fewer than two, the others are asked sooner; with none, sooner still: asking costs nothing,
    and waiting may cost an on-demand node.
    """
    mine = {one.zone: one for one in cooling if one.capacity_type == kind}
    account = mine.get(EVERYWHERE)
    if account and now - account.since < account.for_s:
        return set()
    found: set[str] = set()
    for divisor in (1.0, tuning.hurry, tuning.hurry**2):
        found = {
            name
            for name in names
            if name not in mine or now - mine[name].since >= mine[name].for_s / divisor
        }
        if len(found) > (1 if divisor == 1.0 else 0):
            break
    return found


def why_cooling(cooling: Iterable[Cooling], kind: CapacityType, *, now: float) -> str:
    """Say who cools off, why and for how long."""
    words = [
        f"{one.zone or 'every zone'} ({one.why}, {max(0.0, one.since + one.for_s - now):.0f} s)"
        for one in cooling
        if one.capacity_type == kind and now - one.since < one.for_s
    ]
    return ", ".join(words) or "none"


def cost(zone: Zone, usd: float, startup_s: float) -> float:
    """Price a zone's useful hour: what it loses to reclaims is paid for, too."""
    if not is_sane(zone.reclaims_per_h):
        return usd
    useful = 1 - zone.reclaims_per_h * startup_s / 3600
    return usd / max(useful, LEAST_USEFUL)


def place(zones: Sequence[tuple[str, float, int]], nodes: int) -> Iterator[str]:
    """Yield a zone for each of these nodes.

    zones: name, cost of a useful hour, nodes held there; at least one. No zone gets more than its
    share of a spread over three; of those below it, the cheap ones go first, and of these the
    emptiest.
    """
    held = {name: own for name, _, own in zones}
    costs = {name: usd for name, usd, _ in zones}
    share = -(-(sum(held.values()) + nodes) // min(SPREAD, len(held)))
    for _ in range(nodes):
        below = [name for name in held if held[name] < share]
        cheap = ABOUT_AS_CHEAP * min(costs[name] for name in below)
        name = min((n for n in below if costs[n] <= cheap), key=lambda n: (held[n], costs[n], n))
        held[name] += 1
        yield name


def give_back(zones: Sequence[tuple[str, float, int, int]], nodes: int) -> Iterator[str]:
    """Yield zones to take up to `nodes` nodes from: spare ones first, from where most are held.

    zones: name, cost of a useful hour, nodes held, and how many of these start or idle.
    """
    held = {name: own for name, _, own, _ in zones}
    spare = {name: loose for name, _, _, loose in zones}
    costs = {name: usd for name, usd, _, _ in zones}
    for _ in range(min(nodes, sum(held.values()))):
        some = [name for name in held if held[name] > 0]
        name = max(some, key=lambda n: (spare[n] > 0, held[n], costs[n], n))
        held[name] -= 1
        spare[name] -= 1
        yield name
