"""What the batches need, before anybody asks what it costs: S, r, K and O, with their reasons."""

from typing import NamedTuple

from fleet.pool import policy_spot
from fleet.pool.decision import Figures, Reason
from fleet.pool.knobs import Knobs
from fleet.pool.policy_batch import burst_of, last_call, last_call_at
from fleet.pool.policy_fallback import Fallback, fallback
from fleet.pool.policy_money import spend
from fleet.pool.policy_scene import Scene
from fleet.pool.policy_words import some
from fleet.pool.snapshot import Work


class Need(NamedTuple):
    """spot: S. fallback: O. falls_back: whether on-demand nodes may pull batch jobs."""

    spot: int
    fallback: Fallback
    falls_back: bool
    figures: Figures
    reasons: tuple[Reason, ...]


def held(scene: Scene) -> Need:
    """Stay as things are: the queue could not be read."""
    memory = scene.memory
    text = (
        f"the queue could not be read: {scene.held_spot} spot nodes and {memory.fallback} "
        "on-demand nodes for batches stay"
    )
    return Need(
        spot=scene.held_spot,
        fallback=Fallback(memory.fallback, memory.lower_since, None),
        falls_back=memory.falls_back,
        figures=_figures(scene),
        reasons=(Reason(code="data_missing", text=text),),
    )


def need(scene: Scene, knobs: Knobs, *, most_on_demand: int) -> Need:
    """Work out what the deadlines ask for. most_on_demand: O's limit, by knob and budget."""
    asked, tuning = scene.asked, knobs.tuning
    ready = scene.ready_spot
    spot, why_spot = policy_spot.target(asked, scene.usual.fill, knobs, startup_s=scene.startup_s)
    credit = policy_spot.credit(tuning, ready=ready, usual_spot=scene.usual.nodes, wanted=spot)
    close, closest = last_call(
        asked.due, ready_spot=ready, most_on_demand=most_on_demand, tuning=tuning
    )
    spare = 0.0 if scene.snapshot.load is None else max(0.0, scene.snapshot.load.spare)
    short = max(asked.required - credit, close, 1.0 if _must_measure(scene, knobs) else 0.0)
    figures = _figures(
        scene, credit=credit, close=close, need=max(0.0, short - spare),
        most=most_on_demand, last_call_at=_pressing_at(scene, knobs, most_on_demand),
    )  # fmt: skip
    fell = _fall_back(scene, knobs, figures)
    # What is paid for anyway may as well find out how long an item takes.
    measures = ready == 0 and spare > 0 and bool(asked.unmeasured)
    falls_back = fell.nodes > 0 or short > 0 or asked.keep > ready or measures
    reasons = [why_spot, *_notes(scene, figures, closest, fell)]
    return Need(spot, fell, falls_back, figures, tuple(reasons))


def _figures(
    scene: Scene,
    *,
    credit: float | None = None,
    close: float = 0.0,
    need: float = 0.0,
    most: int = 0,
    last_call_at: float | None = None,
) -> Figures:
    asked = scene.asked
    credit = float(scene.ready_spot) if credit is None else credit
    return Figures(
        required=asked.required,
        keep=asked.keep,
        credit=credit,
        deficit=asked.required - credit,
        last_call=close,
        on_demand_need=need,
        ready_spot=scene.ready_spot,
        held_spot=scene.held_spot,
        ready_on_demand=scene.ready_on_demand,
        held_on_demand=scene.held_on_demand,
        usual_spot=scene.usual.nodes,
        fill=scene.usual.fill,
        work_h=asked.work_s / 3600,
        startup_s=scene.startup_s,
        last_call_at=last_call_at,
        most_on_demand=most,
        spend_usd_per_h=spend(scene.zones, scene.seen),
    )


def _fall_back(scene: Scene, knobs: Knobs, figures: Figures) -> Fallback:
    if scene.asked.is_empty:
        # Nobody waits: what idles is only paid for.
        return Fallback(0, None, None)
    return fallback(
        figures.on_demand_need,
        before=scene.memory.fallback,
        lower_since=scene.memory.lower_since,
        at_least=max(figures.required, figures.keep) - figures.ready_spot,
        now=scene.now,
        tuning=knobs.tuning,
    )


def _must_measure(scene: Scene, knobs: Knobs) -> bool:
    """Whether work that nobody can size is near enough to its deadline, and has no spot node."""
    if scene.ready_spot > 0:
        return False
    margin_s = knobs.tuning.margin * scene.startup_s + knobs.tuning.usual_s / 2
    return any(
        one.deadline is not None and 0 < one.deadline - scene.now < max(margin_s, _half_s(one))
        for one in scene.asked.unmeasured
    )


def _half_s(work: Work) -> float:
    """Return half of a batch's window: it may be large, and the other half has to do for it."""
    if work.deadline is None or work.submitted_at <= 0:
        return 0.0
    return (work.deadline - work.submitted_at) / 2


def _pressing_at(scene: Scene, knobs: Knobs, most: int) -> float | None:
    margin_s = knobs.tuning.margin * scene.startup_s
    burst = burst_of(most, knobs.tuning)
    at = (
        last_call_at(one, margin_s=margin_s, burst=burst, tuning=knobs.tuning)
        for one in scene.asked.due
        if one.rate > 0
    )
    return min(at, default=None)


def _notes(scene: Scene, figures: Figures, closest: str, fell: Fallback) -> list[Reason]:
    asked = scene.asked
    found: list[Reason] = []
    if figures.credit > figures.ready_spot and asked.required > figures.ready_spot:
        text = (
            f"{figures.ready_spot} spot nodes are ready, {figures.usual_spot:.2f} usually are: "
            f"they count for K = {figures.credit:.2f} of r = {asked.required:.2f}"
        )
        found.append(Reason(code="credit", text=text))
    if figures.last_call > max(figures.deficit, 0.0):
        text = (
            f"the deadline of {closest} is too near to wait for spot: {figures.last_call:.2f} "
            f"nodes beyond the {figures.ready_spot} that are ready, O = {fell.nodes}"
        )
        found.append(Reason(code="last_call", text=text))
    elif figures.deficit > 0:
        text = (
            f"r = {asked.required:.2f} nodes are required, spot counts for "
            f"K = {figures.credit:.2f}: on-demand for the deficit of {figures.deficit:.2f}, "
            f"O = {fell.nodes}"
        )
        found.append(Reason(code="deficit", text=text))
    elif asked.required > 0 and fell.nodes == 0:
        text = (
            f"r = {asked.required:.2f} nodes are required, spot counts for "
            f"K = {figures.credit:.2f}: no deadline presses, O = 0"
        )
        found.append(Reason(code="not_pressing", text=text))
    if fell.reason is not None:
        found.append(fell.reason)
    found += _oddities(scene)
    return found


def _oddities(scene: Scene) -> list[Reason]:
    found: list[Reason] = []
    if scene.asked.late:
        text = f"deadlines have passed, nothing is launched for them: {some(scene.asked.late)}"
        found.append(Reason(code="late", text=text))
    if scene.asked.unmeasured:
        names = [one.name for one in scene.asked.unmeasured]
        text = f"no pace is known yet, one node at a time is tried: {some(names)}"
        found.append(Reason(code="pace_unknown", text=text))
    return found
