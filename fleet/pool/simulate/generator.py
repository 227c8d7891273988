"""Markets made up: each zone goes between "has spot" and "has none", as a two-state Markov chain.

The parameters are the mean times in both states, and mean prices, of public recordings: V100 in
nine AWS zones over 45 days of 2023 (Wu et al., NSDI '24), three of these that are short of spot,
and H100 in thirteen Google zones over 15 days of 2025 (SkyNomad, NSDI '27). Real zones flicker more
than such a chain does: half of their times with spot are shorter than a third of the mean.
"""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from fleet.errors import UsageError
from fleet.pool.simulate.market import HOUR_S, Market, ZoneTrace


class Weather(NamedTuple):
    """One zone. up_h, down_h: mean hours with and without spot. nodes: to be had when there is.

    spot, on_demand: USD of a node-hour.
    """

    up_h: float
    down_h: float
    nodes: int
    spot: float
    on_demand: float


V100: Final = (
    Weather(0.72, 3.58, 4, 1.654, 3.06),
    Weather(1.48, 1.69, 4, 1.278, 3.06),
    Weather(1.66, 2.05, 4, 1.235, 3.06),
    Weather(2.26, 1.56, 4, 1.265, 3.06),
    Weather(5.68, 1.80, 4, 0.930, 3.06),
    Weather(4.26, 1.98, 4, 0.928, 3.06),
    Weather(6.06, 0.81, 4, 0.945, 3.06),
    Weather(10.4, 1.10, 4, 0.947, 3.06),
    Weather(6.81, 0.84, 4, 0.942, 3.06),
)
H100: Final = (
    Weather(175.0, 0.33, 16, 8.739, 12.39),
    Weather(15.1, 4.60, 15, 2.407, 13.38),
    Weather(10.6, 9.45, 15, 2.407, 13.38),
    Weather(3.65, 4.90, 10, 2.045, 11.36),
    Weather(18.5, 40.0, 5, 2.191, 12.17),
    Weather(3.85, 0.28, 16, 2.372, 10.32),
    Weather(0.72, 0.51, 13, 2.372, 10.32),
    Weather(2.15, 0.53, 15, 2.372, 10.32),
    Weather(1.34, 0.41, 15, 1.857, 10.32),
    Weather(1.63, 1.06, 14, 1.857, 10.32),
    Weather(0.68, 0.53, 14, 2.091, 11.62),
    Weather(2.01, 1.72, 15, 2.372, 10.32),
    Weather(0.47, 2.33, 13, 2.372, 10.32),
)
MARKETS: Final[Mapping[str, Sequence[Weather]]] = {
    "v100": V100,
    "scarce": tuple(zone._replace(nodes=6) for zone in V100[1:4]),
    "h100": H100,
}
GAP_S: Final = 300.0
# A load of so many nodes is what the zones have enough for, or, of scarce ones, too little.
MADE_FOR: Final = 6.0


def generate(name: str, *, horizon_s: float, seed: int, gap_s: float = GAP_S) -> Market:
    """Make up a market of one of the names in MARKETS; same seed, same market.

    Zones are independent of each other, which real ones nearly are. Raises UsageError for a length
    of less than two ticks.
    """
    ticks = int(horizon_s / gap_s)
    if ticks < 2:
        raise UsageError(f"a market of {horizon_s:.0f} s is too short: make it {2 * gap_s:.0f} s")
    zones = tuple(
        ZoneTrace(
            zone=f"{name}-{letter}",
            counts=tuple(_counts(weather, ticks, gap_s, random.Random(f"{name}/{letter}/{seed}"))),
            spot_usd=(weather.spot,),
            on_demand_usd=weather.on_demand,
        )
        for letter, weather in zip("abcdefghijklmnop", MARKETS[name], strict=False)
    )
    return Market(name=name, gap_s=gap_s, zones=zones, notes=("made up by a two-state chain",))


def _counts(weather: Weather, ticks: int, gap_s: float, rng: random.Random) -> Sequence[int]:
    """Walk through one zone's states, starting as it would be found at any moment."""
    ends_up = 1 - math.exp(-gap_s / (weather.up_h * HOUR_S))
    ends_down = 1 - math.exp(-gap_s / (weather.down_h * HOUR_S))
    is_up = rng.random() < weather.up_h / (weather.up_h + weather.down_h)
    counts: list[int] = []
    for _ in range(ticks):
        counts.append(weather.nodes if is_up else 0)
        if rng.random() < (ends_up if is_up else ends_down):
            is_up = not is_up
    return counts
