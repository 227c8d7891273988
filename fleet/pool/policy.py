"""The policy: from what is seen, and remembered, to what is done now. Pure.

Spot for the rate that the deadlines require, with room to run ahead; credit for the spot that
usually is there; on-demand for the deficit alone. docs/adr/0014 says why.
"""

from fleet.pool.decision import Decision, Memory, Reason
from fleet.pool.knobs import Knobs
from fleet.pool.policy_hold import gap_of, hold
from fleet.pool.policy_risk import at_risk
from fleet.pool.policy_scene import look
from fleet.pool.policy_steps import steps
from fleet.pool.policy_targets import targets
from fleet.pool.snapshot import Snapshot


def decide(snapshot: Snapshot, knobs: Knobs, memory: Memory) -> Decision:
    """Decide what to do now.

    memory: of the decision before; `Memory()` at the start. The same arguments give the same
    decision. For what cannot be read nothing is launched and nothing is given back.
    """
    gap = gap_of(snapshot, memory, knobs.tuning)
    if snapshot.zones is None or gap.is_jump:
        return hold(snapshot, knobs, memory, gap)
    scene = look(snapshot, snapshot.zones, knobs, memory, for_s=gap.for_s)
    wanted = targets(scene, knobs)
    made = steps(scene, wanted, knobs)
    reasons = [*wanted.reasons, *made.reasons]
    if snapshot.paused:
        text = "the manager is paused: this is what it would do"
        reasons.insert(0, Reason(code="paused", text=text))
    return Decision(
        at=snapshot.now,
        spot=wanted.spot,
        fallback=wanted.fallback,
        realtime=wanted.realtime,
        batch_fallback=wanted.falls_back,
        launches=made.launches,
        releases=made.releases,
        reasons=tuple(reasons),
        at_risk=at_risk(scene, wanted, made, knobs),
        figures=wanted.figures,
        memory=wanted.memory,
        carry_out=not snapshot.paused,
    )
