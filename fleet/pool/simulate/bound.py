"""What nobody can beat: the cheapest plan with full knowledge of the market and of all work.

A linear programme: no start-up, no lost work, nodes in fractions. The one door to SciPy.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array

from fleet.errors import FleetError
from fleet.pool.knobs import Knobs
from fleet.pool.simulate.arrivals import Arrival
from fleet.pool.simulate.market import HOUR_S, Market

# As fine as the clouds' own recordings; a month of nine zones takes a second.
STEP_S = 300.0


def bound(market: Market, arrivals: Sequence[Arrival], knobs: Knobs) -> float | None:
    """Find the least cost ratio of all work within its windows; None where there is no way.

    What is averaged over a step is averaged in favour of the plan: work may be done from the
    beginning of the step in which it comes to the end of that of its deadline, and a step has its
    cheapest price. Raises FleetError if the solver fails for another reason than that there is no
    plan.
    """
    work_s = sum(arrival.work_s for arrival in arrivals)
    if not work_s:
        return None
    per = max(1, int(STEP_S / market.gap_s))
    steps = -(-market.ticks // per)
    step_s = per * market.gap_s
    come, due = _bands(arrivals, steps, step_s)
    spot = _supply(market, per, steps)
    # Variables: cumulative work behind each step, on-demand work in it, then the spot work of each
    # zone in it; all in node-hours.
    step_h = step_s / HOUR_S
    zones = len(market.zones)
    at = np.arange(steps)
    od: np.ndarray = steps + at
    sp: np.ndarray = 2 * steps + np.arange(steps * zones)
    step_of = np.tile(at, zones)
    # done[i] - done[i-1] - on_demand[i] - sum(spot[., i]) = 0
    rows = np.concatenate([at, at[1:], at, step_of])
    columns = np.concatenate([at, at[:-1], od, sp])
    values = np.concatenate([np.ones(steps), *(-np.ones(len(x)) for x in (at[1:], od, sp))])
    balance = coo_array((values, (rows, columns)), shape=(steps, (2 + zones) * steps)).tocsr()
    most = coo_array((np.ones(len(sp)), (step_of, sp)), shape=balance.shape).tocsr()
    lowest = np.concatenate([due, np.zeros((1 + zones) * steps)])
    highest = np.concatenate(
        [come, np.full(steps, knobs.most_on_demand * step_h), spot.nodes.ravel() * step_h]
    )
    found = linprog(
        np.concatenate([np.zeros(steps), np.full(steps, market.on_demand_usd), spot.usd.ravel()]),
        A_eq=balance,
        b_eq=np.zeros(steps),
        A_ub=most,
        b_ub=np.full(steps, knobs.most_spot * step_h),
        bounds=np.column_stack([lowest, highest]),
        method="highs",
    )
    if found.status == 2:  # there is no plan
        return None
    if found.status != 0:
        raise FleetError(f"simulation: the solver gave no bound: {found.message}")
    at_list = work_s / HOUR_S * market.on_demand_usd
    return float(f"{found.fun / at_list:.6g}")


class _Supply(msgspec.Struct, frozen=True):
    """Spot by zone and step. nodes: mean over the step. usd: the cheapest of it."""

    nodes: np.ndarray
    usd: np.ndarray


def _supply(market: Market, per: int, steps: int) -> _Supply:
    padded = steps * per

    def by_step(values: Sequence[float]) -> np.ndarray:
        """Put ticks into steps; the last step is filled up with its last tick."""
        array = np.asarray(values, dtype=float)
        array = np.resize(array, market.ticks) if len(array) == 1 else array[: market.ticks]
        filled: np.ndarray = np.pad(array, (0, padded - market.ticks), mode="edge")
        return filled.reshape(steps, per)

    nodes = [by_step(zone.counts).mean(axis=1) for zone in market.zones]
    usd = [by_step(zone.spot_usd).min(axis=1) for zone in market.zones]
    return _Supply(np.array(nodes), np.array(usd))


def _bands(arrivals: Sequence[Arrival], steps: int, step_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Return what may be done, and what has to be done, by the end of each step, in node-hours."""
    come, due = np.zeros(steps), np.zeros(steps)
    for arrival in arrivals:
        come[min(steps - 1, int(arrival.at / step_s))] += arrival.work_s / HOUR_S
        # A step of grace, so that a deadline within a step is not held to the step's beginning.
        due[min(steps - 1, int(np.ceil(arrival.deadline / step_s)) - 1)] += arrival.work_s / HOUR_S
    # Rounding must not ask for a hair more than has come.
    return np.cumsum(come), np.minimum(np.cumsum(due), np.cumsum(come))
