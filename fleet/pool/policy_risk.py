"""Which batches will miss their deadlines as things stand, and for want of what."""

from typing import Final

from fleet.pool.decision import AtRisk, Code
from fleet.pool.knobs import Knobs
from fleet.pool.policy_batch import Due, burst_of, is_last_call
from fleet.pool.policy_realtime import HAIR
from fleet.pool.policy_scene import Scene
from fleet.pool.policy_steps import Steps
from fleet.pool.policy_targets import Targets

# More than anybody reads; the rest is in the figures.
MOST: Final = 100


def at_risk(scene: Scene, wanted: Targets, made: Steps, knobs: Knobs) -> tuple[AtRisk, ...]:
    """Hold each deadline against the nodes that will be there. In the order of service.

    Spot that usually is there is counted on for as long as there is time to replace it.
    """
    figures, asked = wanted.figures, scene.asked
    for_batches = max(0, min(wanted.fallback, made.on_demand - wanted.realtime))
    spare = 0.0 if scene.snapshot.load is None else max(0.0, scene.snapshot.load.spare)
    by_now = figures.ready_spot + spare
    burst = burst_of(figures.most_on_demand, knobs.tuning)
    if max(asked.required, asked.keep) <= by_now:
        return ()
    ready_on_demand = max(0, scene.ready_on_demand - wanted.realtime)
    found: list[AtRisk] = []
    for one in asked.due:
        if one.close:
            nodes = by_now + min(for_batches, ready_on_demand)
        elif is_last_call(one, burst, knobs.tuning):
            nodes = by_now + for_batches
        else:
            nodes = max(by_now, figures.credit + spare) + for_batches
        if one.rate > nodes + HAIR:
            found.append(_risk(one, nodes, wanted, made))
            if len(found) == MOST:
                break
    return tuple(found)


def _risk(one: Due, nodes: float, wanted: Targets, made: Steps) -> AtRisk:
    why: Code = made.refused or wanted.capped or ("last_call" if one.close else "cold_start")
    return AtRisk(
        batch=one.name,
        deadline=one.deadline,
        short_by=one.rate - nodes,
        late_s=None if nodes <= 0 else one.ahead_s / nodes - one.left_s,
        why=why,
    )
