"""How much spot is wanted, and what the spot that usually is there counts for."""

import math
from typing import NamedTuple

from fleet.pool.decision import Code, Memory, Reason
from fleet.pool.knobs import Knobs, Tuning
from fleet.pool.policy_batch import Demand


class Usual(NamedTuple):
    """nodes: spot that was ready, on average over hours. fill: share of the wanted spot held."""

    nodes: float
    fill: float


def usual(
    memory: Memory, asked: Demand, knobs: Knobs, *, ready: int, held: int, for_s: float
) -> Usual:
    """Bring the averages up to date; while there is no work, nothing is learned about spot."""
    if memory.usual_spot is None:
        return Usual(float(ready), memory.fill)
    if asked.is_empty:
        return Usual(memory.usual_spot, memory.fill)
    step = 1 - math.exp(-for_s / knobs.tuning.usual_s)
    wanted = _plenty(asked, knobs)
    share = min(1.0, held / wanted) if wanted else memory.fill
    return Usual(
        memory.usual_spot + step * (ready - memory.usual_spot),
        memory.fill + step * (share - memory.fill),
    )


def target(asked: Demand, fill: float, knobs: Knobs, *, startup_s: float) -> tuple[int, Reason]:
    """Say how many spot nodes are wanted: room to run ahead, or all there is while it is scarce."""
    tuning = knobs.tuning
    if asked.is_empty:
        return 0, Reason(code="idle", text="no batch work: no spot is wanted")
    if asked.work_s <= 0:
        nodes = min(1, knobs.most_spot)
        return nodes, Reason(code="spot_target", text="1 spot node wanted, to measure a pace")
    useful = max(1, math.ceil(asked.work_s / (tuning.worth * startup_s)))
    if fill <= tuning.scarce:
        nodes = min(knobs.most_spot, useful)
        text = f"spot is scarce ({fill:.0%} of what was wanted is usually held): all of {nodes}"
        return nodes, Reason(code="spot_scarce", text=text)
    nodes = min(_plenty(asked, knobs), useful)
    rate = asked.required + asked.unhurried
    text = (
        f"{nodes} spot nodes wanted: {tuning.ahead:g} times the required {rate:.2f}, and one more"
    )
    if nodes == useful:
        text += f", but work for {useful} only"
    elif nodes == knobs.most_spot:
        text += f", but at most {knobs.most_spot}"
    code: Code = "most_spot" if nodes == knobs.most_spot < rate else "spot_target"
    return nodes, Reason(code=code, text=text)


def credit(tuning: Tuning, *, ready: int, usual_spot: float, wanted: int) -> float:
    """Return K: the spot that is ready, or most of what usually is, if that is more."""
    return max(float(ready), tuning.rho * min(usual_spot, wanted))


def _plenty(asked: Demand, knobs: Knobs) -> int:
    rate = asked.required + asked.unhurried
    return min(knobs.most_spot, math.ceil(min(knobs.tuning.ahead * rate, 1e9)) + 1)
