"""What nodes cost, which zones are too dear, and how far the budget goes."""

from collections.abc import Sequence
from typing import NamedTuple

from fleet.pool.decision import Memory, Reason
from fleet.pool.knobs import Knobs
from fleet.pool.policy_batch import is_sane
from fleet.pool.policy_words import some
from fleet.pool.snapshot import Zone


class Prices(NamedTuple):
    """USD an hour of one node, by zone; zones without a known price are missing.

    spot: of all zones. cheap: those whose spot may be launched. dear: those whose spot costs as
    much as on-demand, or more. on_demand_usd: the dearest on-demand price, for planning; the last
    known one where none is known now, and None where none ever was.
    """

    spot: dict[str, float]
    on_demand: dict[str, float]
    on_demand_usd: float | None
    cheap: set[str]
    dear: set[str]
    reasons: tuple[Reason, ...]


def prices(zones: Sequence[Zone], knobs: Knobs, memory: Memory, *, now: float) -> Prices:
    """Read the prices, a stale one as if it were somewhat higher, and hold them to the ceiling."""
    tuning = knobs.tuning
    spot: dict[str, float] = {}
    on_demand: dict[str, float] = {}
    stale: list[str] = []
    for zone in zones:
        widen = 1.0
        if zone.priced_at is not None and now - zone.priced_at > tuning.stale_s:
            widen = tuning.widen
            stale.append(zone.name)
        if zone.spot_usd is not None and is_sane(zone.spot_usd):
            spot[zone.name] = zone.spot_usd * widen
        if zone.on_demand_usd is not None and is_sane(zone.on_demand_usd):
            on_demand[zone.name] = zone.on_demand_usd
    usd = max(on_demand.values(), default=memory.on_demand_usd)
    # What part of the on-demand price spot costs.
    shares = {name: price / on_demand.get(name, usd) for name, price in spot.items()} if usd else {}
    seen = Prices(
        spot=spot,
        on_demand=on_demand,
        on_demand_usd=usd,
        cheap={name for name, share in shares.items() if share < knobs.price_ceiling},
        dear={name for name, share in shares.items() if share >= 1},
        reasons=(),
    )
    return seen._replace(reasons=tuple(_price_reasons(zones, seen, stale, knobs)))


def _price_reasons(
    zones: Sequence[Zone], seen: Prices, stale: Sequence[str], knobs: Knobs
) -> list[Reason]:
    tuning, spot, usd = knobs.tuning, seen.spot, seen.on_demand_usd
    found: list[Reason] = []
    if stale:
        text = (
            f"prices of {some(stale)} are older than {tuning.stale_s / 3600:.0f} h: "
            f"counted {tuning.widen:.2f} times"
        )
        found.append(Reason(code="price_stale", text=text))
    unknown = [zone.name for zone in zones if zone.name not in spot]
    if usd is None and zones:
        text = "no on-demand price is known, so no spot price can be held to the ceiling"
        found.append(Reason(code="price_unknown", text=text))
    elif unknown:
        text = f"no spot is launched in {some(unknown)}: its price there is not known"
        found.append(Reason(code="price_unknown", text=text))
    over = [f"{name} at {price:.2f}" for name, price in spot.items() if name not in seen.cheap]
    if over and usd is not None:
        text = (
            f"spot costs {knobs.price_ceiling:.0%} of on-demand or more ({usd:.2f} USD/h): "
            f"{some(over)}"
        )
        found.append(Reason(code="price_over_ceiling", text=text))
    return found


class Afforded(NamedTuple):
    """How many nodes the budget bears: of real-time, of spot, on-demand for batches."""

    realtime: int
    spot: int
    fallback: int


def afford(
    money_usd: float,
    wanted: Afforded,
    *,
    baseline: int,
    held_spot: int,
    on_demand_usd: float,
    spot_usd: float,
) -> Afforded:
    """Spend an hour's money: baseline, real-time, spot that is held, the deficit, more spot.

    money_usd: the budget less what nodes cost that are on their way out. The baseline is kept even
    when there is no money for it.
    """
    left = money_usd - baseline * on_demand_usd
    more = bought(left, on_demand_usd, wanted.realtime - baseline)
    left -= more * on_demand_usd
    kept = bought(left, spot_usd, min(held_spot, wanted.spot))
    left -= kept * spot_usd
    fallback = bought(left, on_demand_usd, wanted.fallback)
    left -= fallback * on_demand_usd
    spot = kept + bought(left, spot_usd, wanted.spot - kept)
    return Afforded(baseline + more, spot, fallback)


def bought(left_usd: float, usd: float, wanted: int) -> int:
    """Say how many of the wanted nodes this money buys for an hour."""
    # A hair more, so that a budget of three nodes buys three.
    return max(0, min(wanted, int(left_usd / usd + 1e-9))) if left_usd > 0 else 0


def spend(zones: Sequence[Zone], seen: Prices) -> float | None:
    """Add up what all nodes cost in an hour, those on their way out included.

    None where a price that is needed is not known.
    """
    total = 0.0
    for zone in zones:
        for count, usd in (
            (zone.spot, seen.spot.get(zone.name)),
            (zone.on_demand, seen.on_demand.get(zone.name, seen.on_demand_usd)),
        ):
            nodes = count.held + count.leaving
            if nodes and usd is None:
                return None
            total += nodes * (usd or 0.0)
    return total
