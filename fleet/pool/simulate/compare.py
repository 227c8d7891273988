"""All policies on the same market with the same work."""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec

from fleet.errors import UsageError
from fleet.pool.knobs import Knobs
from fleet.pool.simulate.arrivals import Arrival
from fleet.pool.simulate.market import Market
from fleet.pool.simulate.outcome import Outcome, outcome
from fleet.pool.simulate.rivals import policies
from fleet.pool.simulate.world import Point, Rules, World

NAMES: Final = ("overbook", "greedy", "spothedge", "spot_only", "on_demand_only")
OnRun: TypeAlias = Callable[[str], None]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One policy: what it came to, and how it got there."""

    outcome: Outcome
    points: tuple[Point, ...]


def compare(
    market: Market,
    arrivals: Sequence[Arrival],
    *,
    knobs: Knobs,
    rules: Rules,
    mean_nodes: float,
    names: Sequence[str] = NAMES,
    on_run: OnRun = lambda _: None,
) -> dict[str, Run]:
    """Run the named policies one after the other.

    mean_nodes: what the work keeps busy on average, for policies that hold a level. on_run: told
    the name of each before it begins. Raises UsageError if there is no work.
    """
    if not arrivals:
        days = market.horizon_s / 86_400
        raise UsageError(
            f"no batch comes within the {days:.1f} days of {market.name}: "
            "shorten the window, or take a longer recording"
        )
    found: dict[str, Run] = {}
    makers = policies(knobs, mean_nodes=mean_nodes)
    for name in names:
        on_run(name)
        world = World(market, tuple(arrivals), makers[name](), rules)
        world.run()
        found[name] = Run(outcome=outcome(world), points=tuple(world.points))
    return found
