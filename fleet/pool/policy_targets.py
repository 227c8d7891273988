"""How many nodes of each kind are wanted: what is needed, as far as knobs and budget go."""

from typing import NamedTuple

from msgspec.structs import replace

from fleet.pool import policy_need
from fleet.pool.decision import Code, Figures, Memory, Reason
from fleet.pool.knobs import Knobs
from fleet.pool.policy_money import Afforded, afford, bought
from fleet.pool.policy_realtime import realtime
from fleet.pool.policy_scene import Scene


class Targets(NamedTuple):
    """Nodes that are wanted: spot (S), on-demand for real-time (N) and for batches (O).

    falls_back: whether on-demand nodes may pull batch jobs. capped: what keeps O below the need.
    """

    spot: int
    realtime: int
    fallback: int
    falls_back: bool
    capped: Code | None
    figures: Figures
    reasons: tuple[Reason, ...]
    memory: Memory

    @property
    def on_demand(self) -> int:
        """On-demand nodes in all."""
        return self.realtime + self.fallback


def targets(scene: Scene, knobs: Knobs) -> Targets:
    """Weigh the need against the means."""
    live = realtime(scene.snapshot.load, knobs, scene.memory, now=scene.now)
    if scene.snapshot.work is None:
        need = policy_need.held(scene)
    else:
        most = _most_on_demand(scene, knobs, live.nodes)
        need = policy_need.need(scene, knobs, most_on_demand=most)
    reasons = [*scene.seen.reasons, *need.reasons]
    if live.reason is not None:
        reasons.append(live.reason)
    fallback = need.fallback.nodes
    capped: Code | None = None
    if fallback > knobs.most_on_demand:
        text = (
            f"{fallback} on-demand nodes are needed for batches, {knobs.most_on_demand} are allowed"
        )
        reasons.append(Reason(code="most_on_demand", text=text))
        fallback, capped = knobs.most_on_demand, "most_on_demand"
    wanted = Afforded(live.nodes, need.spot, fallback)
    got, poor = _within_budget(scene, knobs, wanted)
    if poor is not None:
        reasons.append(poor)
        capped = "budget" if got.fallback < fallback else capped
    return Targets(
        spot=got.spot,
        realtime=got.realtime,
        fallback=got.fallback,
        falls_back=need.falls_back,
        capped=capped,
        figures=need.figures,
        reasons=tuple(reasons),
        memory=replace(
            scene.memory,
            spot=got.spot,
            fallback=got.fallback,
            falls_back=need.falls_back,
            lower_since=need.fallback.lower_since,
            realtime=got.realtime,
            realtime_lower_since=live.lower_since,
        ),
    )


def _most_on_demand(scene: Scene, knobs: Knobs, realtime_nodes: int) -> int:
    """Say how many on-demand nodes batches could get at the most, beside the spot that is held."""
    usd = scene.seen.on_demand_usd
    if knobs.budget_usd_per_h is None or usd is None:
        return knobs.most_on_demand
    left = knobs.budget_usd_per_h - realtime_nodes * usd - scene.held_spot * _spot_usd(scene, usd)
    return bought(left, usd, knobs.most_on_demand)


def _within_budget(scene: Scene, knobs: Knobs, wanted: Afforded) -> tuple[Afforded, Reason | None]:
    budget, usd = knobs.budget_usd_per_h, scene.seen.on_demand_usd
    if budget is None:
        return wanted, None
    if usd is None:
        got = _no_more_than_held(scene, knobs, wanted)
        text = (
            "no price is known, so the budget cannot be checked: nothing is added but the baseline"
        )
    else:
        spot_usd = _spot_usd(scene, usd)
        leaving = sum(
            zone.spot.leaving * spot_usd + zone.on_demand.leaving * usd for zone in scene.zones
        )
        got = afford(
            budget - leaving, wanted, baseline=min(knobs.baseline, wanted.realtime),
            held_spot=scene.held_spot, on_demand_usd=usd, spot_usd=spot_usd,
        )  # fmt: skip
        text = (
            f"{budget:.2f} USD/h bear {got.spot} of {wanted.spot} spot nodes at up to "
            f"{spot_usd:.2f}, and at {usd:.2f} {got.fallback} of {wanted.fallback} on-demand nodes "
            f"for batches and {got.realtime} of {wanted.realtime} for real-time"
        )
        if got.realtime * usd + leaving > budget:
            text += ": the baseline alone costs more, and is kept"
    return got, None if got == wanted else Reason(code="budget", text=text)


def _no_more_than_held(scene: Scene, knobs: Knobs, wanted: Afforded) -> Afforded:
    live = max(knobs.baseline, min(wanted.realtime, scene.held_on_demand))
    return Afforded(
        live,
        min(wanted.spot, scene.held_spot),
        min(wanted.fallback, max(0, scene.held_on_demand - live)),
    )


def _spot_usd(scene: Scene, otherwise: float) -> float:
    """Plan with the dearest spot that is held or may be launched."""
    spot = scene.seen.spot
    mine = [spot[zone.name] for zone in scene.zones
            if zone.name in spot and (zone.spot.held or zone.name in scene.seen.cheap)]  # fmt: skip
    return max(mine, default=otherwise)
