"""Situations for the capacity policy: a pool of one model, and hours in seconds."""

from collections.abc import Iterable
from typing import Any

from fleet.pool.decision import Code, Decision, Memory
from fleet.pool.knobs import Knobs
from fleet.pool.policy import decide
from fleet.pool.snapshot import Count, Snapshot, Work, Zone

HOUR = 3600.0
NOW = 1_000_000.0
KNOBS = Knobs(most_spot=18, most_on_demand=10)


def zone(name: str = "a", **more: Any) -> Zone:
    """Make a zone whose spot costs 0.4 of on-demand."""
    return Zone(**{"name": name, "spot_usd": 1.8, "on_demand_usd": 4.5, **more})


def zones(spot: Iterable[int] = (0, 0, 0), on_demand: int = 0) -> tuple[Zone, ...]:
    """Make zones a, b, c ... with so many spot nodes ready, and on-demand nodes in the first."""
    return tuple(
        zone(
            chr(ord("a") + at),
            spot=Count(ready=ready),
            on_demand=Count(ready=on_demand if at == 0 else 0),
        )
        for at, ready in enumerate(spot)
    )


def work(name: str = "acme.b1", *, node_h: float, due_in_h: float | None, **more: Any) -> Work:
    """Make a batch of items of a minute each. due_in_h: from NOW on."""
    deadline = None if due_in_h is None else NOW + due_in_h * HOUR
    items = {"items": round(node_h * 60), "item_s": 60.0, "submitted_at": NOW - HOUR}
    return Work(name=name, deadline=deadline, **{**items, **more})


def snapshot(*batches: Work, **more: Any) -> Snapshot:
    """Look at three empty zones, and machines that start in ten minutes."""
    return Snapshot(**{"now": NOW, "work": batches, "zones": zones(), "startup_s": 600.0, **more})


def remembering(**more: Any) -> Memory:
    """Remember a look just before NOW."""
    return Memory(**{"at": NOW - 15, "usual_spot": 0.0, **more})


def codes(decision: Decision) -> set[Code]:
    """Return the codes of all reasons."""
    return {reason.code for reason in decision.reasons}


def text(decision: Decision, code: Code) -> str:
    """Return the one reason of that code."""
    [found] = [reason.text for reason in decision.reasons if reason.code == code]
    return found


def launched(decision: Decision, kind: str) -> dict[str, int]:
    """Return how many nodes of a kind are launched in each zone."""
    return {one.zone: one.count for one in decision.launches if one.capacity_type == kind}


def released(decision: Decision, kind: str) -> dict[str, int]:
    """Return how many nodes of a kind are given back in each zone."""
    return {one.zone: one.count for one in decision.releases if one.capacity_type == kind}


def settled(first: Snapshot, knobs: Knobs, memory: Memory, *, for_s: float) -> Decision:
    """Look again every 15 s at what does not change, and return the last decision."""
    decision = decide(first, knobs, memory)
    for step in range(1, int(for_s // 15) + 1):
        again = Snapshot(**{**_fields(first), "now": first.now + 15 * step, "happened": ()})
        decision = decide(again, knobs, decision.memory)
    return decision


def _fields(one: Snapshot) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__struct_fields__}
