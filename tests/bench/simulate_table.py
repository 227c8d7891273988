"""What capacity costs on recorded spot markets: ours, greedy, SpotHedge-like, and the bound.

Each set of recordings, with windows of 24 and 4 hours, means over seeds: cost by the same work on
on-demand nodes, deadlines missed, and the gap to the hindsight bound. `tuned`: the policy's
constants were chosen on these recordings; `held-out`: they were not looked at before. Where nothing
is recorded about prices, on-demand costs 2.5 times as much as spot. The recordings are looked for
in `../shared/data/spot-traces`, or where SPOT_TRACES says; they are no part of this project.
"""

import os
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from msgspec.structs import replace

from fleet.pool.knobs import Knobs
from fleet.pool.simulate.arrivals import Arrival, arrivals
from fleet.pool.simulate.bound import bound
from fleet.pool.simulate.compare import compare
from fleet.pool.simulate.market import HOUR_S, Market, cut, scaled
from fleet.pool.simulate.outcome import Outcome
from fleet.pool.simulate.traces import read
from fleet.pool.simulate.world import Rules
from tests.bench.report import ROOT, Figure, Options, at_most, say

PLACE: Final = Path(os.environ.get("SPOT_TRACES", ROOT.parent / "shared/data/spot-traces"))
DAY_S: Final = 86_400.0
SINGLE: Final = "availability/1-node/aws-02-15-2023"
V100_PRICES: Final = "aws_v100_per_tick_prices_2023-02-15.json"
WINDOWS_H: Final = (24, 4)
NAMES: Final = ("overbook", "greedy", "spothedge", "spot_only", "on_demand_only")
LOAD: Final = 6.0
KNOBS: Final = Knobs(most_spot=18, most_on_demand=40)


class Set(NamedTuple):
    """A market of recordings. zones: a part of them, by the ends of their names; () for all."""

    name: str
    directory: str
    scale: int = 1
    zones: tuple[str, ...] = ()
    from_day: float = 0.0
    days: float = 15.0
    prices: str | None = None
    on_demand_usd: float | None = None


TUNED: Final = (
    Set("tuned/9-zones-x4", SINGLE, scale=4),
    Set("tuned/16-node", "availability/16-node/aws-08-27-2023"),
    Set("tuned/3-bad-zones-x6", SINGLE, scale=6, zones=("east-1c", "east-1d", "east-1f")),
    Set("tuned/1-zone-x18", SINGLE, scale=18, zones=("east-1f",)),
)
HELD_OUT: Final = (
    Set("held-out/9-zones-x4-later", SINGLE, scale=4, from_day=15, days=30),
    Set("held-out/9-zones-x4-later-priced", SINGLE, scale=4, from_day=15, days=30,
        prices=V100_PRICES, on_demand_usd=3.06),
    Set("held-out/h100", "gcp_h100_10-03-2025"),
)  # fmt: skip


async def measure(options: Options) -> Sequence[Figure]:
    """Run all sets; without the recordings, none."""
    if not PLACE.is_dir():
        say(f"  skipped: no recordings of spot markets in {PLACE}; SPOT_TRACES names another place")
        return ()
    seeds = range(1, 1 + (options.rounds or (1 if options.quick else 4)))
    figures: list[Figure] = []
    for one in (*TUNED, *HELD_OUT):
        market = _market(one, most_days=5 if options.quick else None)
        for window_h in WINDOWS_H:
            figures += _row(one, market, window_h, seeds)
    return figures


def _market(one: Set, *, most_days: float | None) -> Market:
    prices = PLACE / one.prices if one.prices else None
    market = read(PLACE / one.directory, prices=prices, on_demand_usd=one.on_demand_usd)
    days = one.days if most_days is None else min(one.days, most_days)
    market = cut(market, from_s=one.from_day * DAY_S, for_s=days * DAY_S)
    if one.zones:
        kept = tuple(zone for zone in market.zones if any(end in zone.zone for end in one.zones))
        market = replace(market, zones=kept)
    return scaled(market, one.scale)


def _row(one: Set, market: Market, window_h: int, seeds: Sequence[int]) -> Iterator[Figure]:
    """Compare on one market with one window, each seed with other batches."""
    found: dict[str, list[Outcome]] = {name: [] for name in NAMES}
    bounds: list[float] = []
    for seed in seeds:
        work = _work(market, window_h, seed)
        runs = compare(market, work, knobs=KNOBS, rules=Rules(), mean_nodes=LOAD, names=NAMES)
        for name, run in runs.items():
            found[name].append(run.outcome)
        if (least := bound(market, work, KNOBS)) is not None:
            bounds.append(least)
    row = f"{one.name}/{window_h}h"
    costs = {name: _mean([made.cost_ratio or 0.0 for made in some]) for name, some in found.items()}
    missed = {name: sum(made.misses for made in some) for name, some in found.items()}
    batches = sum(made.batches for made in found["overbook"])
    say(f"  {row}: " + ", ".join(
        f"{name} {costs[name]:.3f}" + (f" ({missed[name]} missed)" if missed[name] else "")
        for name in NAMES
    ) + f"; bound {_mean(bounds):.3f}; {batches} batches")  # fmt: skip
    for name in NAMES:
        note = f"{missed[name]} of {batches} batches missed"
        figure = Figure(name=f"{row}/{name}", value=costs[name], unit="of on-demand", note=note)
        yield _held(figure, costs, missed) if name == "overbook" else figure
    yield at_most(0, Figure(name=f"{row}/misses", value=missed["overbook"], unit="batches"))
    if bounds:
        gap = Figure(name=f"{row}/by_bound", value=costs["overbook"] / _mean(bounds), unit="ratio")
        is_goal = one.name == "tuned/9-zones-x4" and window_h == 24
        yield at_most(1.06, gap) if is_goal else gap
        yield Figure(name=f"{row}/bound", value=_mean(bounds), unit="of on-demand")


def _held(figure: Figure, costs: dict[str, float], missed: dict[str, int]) -> Figure:
    """Set our cost beside the least of those that it has to be below."""
    rivals = [costs[name] for name in ("greedy", "spothedge") if not missed[name]]
    return at_most(min([1.0, costs["on_demand_only"], *rivals]), figure)


def _work(market: Market, window_h: int, seed: int) -> tuple[Arrival, ...]:
    return arrivals(
        horizon_s=market.horizon_s,
        mean_nodes=LOAD,
        window_s=window_h * HOUR_S,
        every_s=2 * HOUR_S,
        seed=seed,
    )


def _mean(values: Sequence[float]) -> float:
    return round(statistics.fmean(values), 4) if values else 0.0
