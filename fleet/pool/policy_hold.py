"""What is done when there is no telling how things stand: nothing, and that is said."""

from typing import Final, NamedTuple

from msgspec.structs import replace

from fleet.pool.decision import Decision, Figures, Memory, Reason
from fleet.pool.knobs import Knobs, Tuning
from fleet.pool.policy_scene import crashes_of
from fleet.pool.policy_zones import cool
from fleet.pool.snapshot import Snapshot

# Two clocks of one cluster differ by that much at times.
BACK_S: Final = 2.0


class Gap(NamedTuple):
    """for_s: seconds since the last snapshot, 0 for none. is_jump: too many, or too few."""

    for_s: float
    is_jump: bool


def gap_of(snapshot: Snapshot, memory: Memory, tuning: Tuning) -> Gap:
    """Hold the time against the last one: a clock that was set makes deadlines near or far."""
    if memory.at is None:
        return Gap(0.0, is_jump=False)
    gap_s = snapshot.now - memory.at
    return Gap(max(0.0, gap_s), is_jump=not -BACK_S <= gap_s <= tuning.jump_s)


def hold(snapshot: Snapshot, knobs: Knobs, memory: Memory, gap: Gap) -> Decision:
    """Change nothing until the next snapshot, but remember what happened, and the new time."""
    if gap.is_jump and memory.at is not None:
        text = (
            f"the clock went from {memory.at:.0f} to {snapshot.now:.0f} between two looks: "
            "nothing is launched or given back before the next one"
        )
        reason = Reason(code="clock_jump", text=text)
    else:
        text = "the provider did not say which nodes there are: none is launched or given back"
        reason = Reason(code="data_missing", text=text)
    realtime = max(memory.realtime or 0, knobs.baseline)
    return Decision(
        at=snapshot.now,
        spot=memory.spot,
        fallback=memory.fallback,
        realtime=realtime,
        batch_fallback=memory.falls_back,
        launches=(),
        releases=(),
        reasons=(reason,),
        at_risk=(),
        figures=Figures(usual_spot=memory.usual_spot or 0.0, fill=memory.fill),
        memory=_remembered(snapshot, knobs, memory, gap),
        carry_out=not snapshot.paused,
    )


def _remembered(snapshot: Snapshot, knobs: Knobs, memory: Memory, gap: Gap) -> Memory:
    if gap.is_jump:
        memory = _moved(memory, snapshot.now)
    cooling = cool(memory.cooling, snapshot.happened, now=snapshot.now, tuning=knobs.tuning)
    # Nothing is known yet of the nodes there are: the next look has to ask them.
    at = None if memory.at is None else snapshot.now
    crashes, crashed_at = crashes_of(snapshot, memory)
    return replace(memory, at=at, cooling=cooling, crashes=crashes, crashed_at=crashed_at)


def _moved(memory: Memory, now: float) -> Memory:
    """Set what was remembered by the old clock to the new one: waits go on from where they were."""
    was = now if memory.at is None else memory.at

    def moved(at: float | None) -> float | None:
        return None if at is None else now - max(0.0, was - at)

    return replace(
        memory,
        at=now,
        lower_since=moved(memory.lower_since),
        realtime_lower_since=moved(memory.realtime_lower_since),
        crashed_at=moved(memory.crashed_at),
        cooling=tuple(
            replace(one, since=now - max(0.0, was - one.since)) for one in memory.cooling
        ),
    )
