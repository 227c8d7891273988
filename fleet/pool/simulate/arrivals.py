"""The work of a simulation: batches that come at random, each to be done within its window."""

import math
import random
from typing import Final

import msgspec

from fleet.errors import UsageError
from fleet.pool.simulate.market import HOUR_S


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """One batch. at, deadline: seconds since the market opened. work_s: node-seconds of it."""

    name: str
    at: float
    deadline: float
    work_s: float


# Sizes spread as those of real batches do: many small ones, a few that are ten times as large.
SPREAD: Final = 0.8
MOST: Final = 1_000_000


def arrivals(
    *, horizon_s: float, mean_nodes: float, window_s: float, every_s: float, seed: int
) -> tuple[Arrival, ...]:
    """Draw batches that come on average every `every_s` and keep `mean_nodes` nodes busy.

    None comes so late that its window ends behind the horizon. Same seed, same batches. Raises
    UsageError for more of them than anybody would wait for.
    """
    if horizon_s / every_s > MOST:
        raise UsageError(
            f"{horizon_s / every_s:.0f} batches are too many for one simulation: let them come "
            "less often, or take fewer days"
        )
    rng = random.Random(f"arrivals/{seed}")
    # The mean of a lognormal is exp(mu + sigma^2 / 2).
    mu = math.log(mean_nodes * every_s) - SPREAD**2 / 2
    drawn: list[Arrival] = []
    at = rng.expovariate(1 / every_s)
    while at <= horizon_s - window_s - HOUR_S:
        drawn.append(
            Arrival(
                name=f"batch-{len(drawn)}",
                at=at,
                deadline=at + window_s,
                work_s=rng.lognormvariate(mu, SPREAD),
            )
        )
        at += rng.expovariate(1 / every_s)
    return tuple(drawn)
