"""On-demand nodes for batches: raised at once, lowered with patience."""

import math
from typing import Final, NamedTuple

from fleet.pool.decision import Reason
from fleet.pool.knobs import Tuning
from fleet.pool.policy_realtime import HAIR

# So that a need without bound is still a number of nodes; the knobs bound it further.
MOST: Final = 1e9


class Fallback(NamedTuple):
    """nodes: wanted. lower_since: since when fewer would do, None while they would not."""

    nodes: int
    lower_since: float | None
    reason: Reason | None


def fallback(
    need: float,
    *,
    before: int,
    lower_since: float | None,
    at_least: float,
    now: float,
    tuning: Tuning,
) -> Fallback:
    """Follow the need.

    before: nodes that batches were given last. at_least: what must not be given back yet, for the
    spot that replaces it is not ready.
    """
    wanted = math.ceil(min(max(0.0, need), MOST) - HAIR)
    if wanted >= before:
        return Fallback(wanted, None, None)
    kept = min(before, max(wanted, math.ceil(min(max(0.0, at_least), MOST) - HAIR)))
    if need > 0 and need >= tuning.lower_at * before - 1:
        text = f"{before} on-demand nodes are kept: {need:.2f} needed is not much less"
        return Fallback(before, None, Reason(code="holding", text=text))
    since = now if lower_since is None else min(lower_since, now)
    if now - since < tuning.hold_s:
        left_s = tuning.hold_s - (now - since)
        text = f"{before} on-demand nodes are kept for {left_s:.0f} s more: {need:.2f} are needed"
        return Fallback(before, since, Reason(code="holding", text=text))
    if kept > wanted:
        text = f"{kept} on-demand nodes are kept until the spot that replaces them is ready"
        return Fallback(kept, since, Reason(code="holding", text=text))
    return Fallback(wanted, None, None)
