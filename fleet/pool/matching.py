"""Machines and heartbeats together: who works, who starts, who may be ended. Pure.

A provider knows what is paid for, the nodes' heartbeats what is done for it. Neither alone is
enough: a machine without a heartbeat may start or be lost, and a heartbeat without a machine is
somebody else's.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from fleet.events import NodeLaunched
from fleet.job import CapacityType
from fleet.node import Node
from fleet.pool.progress import MARKETS
from fleet.pool.provider import FaultKind, Granted, Machine
from fleet.pool.snapshot import Launched, LaunchFailed, Member, NodePhase, Reclaimed, Refusal

# An API that does not answer, as one that asks for patience, says nothing about the zone. Our own
# caps do not either.
_REFUSALS: Final[Mapping[FaultKind, Refusal]] = {
    "no_capacity": "capacity",
    "quota": "quota",
    "throttled": "throttled",
    "unreachable": "throttled",
    "refused": "other",
}


class Victims(msgspec.Struct, frozen=True, kw_only=True):
    """Which machines go. end: by id, at once, for they hold nothing. drain: by node, first.

    An idle node is drained too: between two looks it may have taken a job.
    """

    end: tuple[str, ...] = ()
    drain: tuple[str, ...] = ()


def launched(machine: Machine, *, model: str, at: float) -> NodeLaunched:
    """Say what the ledger has to know of a machine before its node says a word."""
    return NodeLaunched(
        at=at,
        node=machine.node,
        capacity_type=machine.capacity_type,
        zone=machine.zone,
        model=model,
        instance_type=machine.instance_type,
        since=machine.started_at,
    )


def match(machines: Iterable[Machine], nodes: Iterable[Node]) -> dict[str, Node]:
    """Return the node of each machine that has one, by the machine's id.

    A consumer's name is its machine's, alone or with `-` and more behind it: one that was started
    again has another name. Of several the last to beat counts.
    """
    by_name = {one.node: one.id for one in machines}
    found: dict[str, Node] = {}
    for node in nodes:
        id_ = next((by_name[name] for name in _prefixes(node.node) if name in by_name), None)
        if id_ is not None and (id_ not in found or found[id_].at < node.at):
            found[id_] = node
    return found


def members(machines: Collection[Machine], nodes: Iterable[Node]) -> tuple[Member, ...]:
    """Say of every machine that did not end what it does."""
    found = match(machines, nodes)
    return tuple(
        Member(
            name=one.id,
            zone=one.zone,
            capacity_type=one.capacity_type,
            phase=_phase(one, node := found.get(one.id)),
            idle=node is not None and _idle(node),
            launched_at=one.started_at,
        )
        for one in machines
        if one.state != "ended"
    )


def victims(
    machines: Collection[Machine],
    nodes: Iterable[Node],
    *,
    capacity_type: CapacityType,
    zone: str,
    count: int,
) -> Victims:
    """Choose `count` machines to give back: those that start, the youngest first, then idle ones.

    Who has the least to hand over goes before others. Those on their way out are not counted.
    """
    found = match(machines, nodes)
    here = [
        one
        for one in machines
        if (one.capacity_type, one.zone) == (capacity_type, zone)
        and _phase(one, found.get(one.id)) != "leaving"
        and one.alive
    ]
    chosen = sorted(here, key=lambda one: _hold(one, found.get(one.id)))[: max(0, count)]
    ready = {one.id for one in chosen if _phase(one, found.get(one.id)) == "ready"}
    return Victims(
        end=tuple(one.id for one in chosen if one.id not in ready),
        drain=tuple(found[one.id].node for one in chosen if one.id in ready),
    )


def drained(machines: Collection[Machine], nodes: Iterable[Node]) -> tuple[str, ...]:
    """Return the ids of machines whose node has handed over all it held, and waits for its end."""
    found = match(machines, nodes)
    return tuple(
        one.id
        for one in machines
        if one.alive and one.id in found and found[one.id].state == "drained"
    )


def under_notice(machines: Iterable[Machine], nodes: Iterable[Node]) -> frozenset[str]:
    """Return the ids of machines that the market wants back, as their nodes told already.

    What becomes of them is no further reclaim.
    """
    found = match(machines, nodes)
    return frozenset(id_ for id_, node in found.items() if node.notice in MARKETS)


def told(
    granted: Granted, at: float, *, zone: str, capacity_type: CapacityType
) -> tuple[Launched | LaunchFailed, ...]:
    """Say to the policy what came of a launch: a zone that gave less than was asked cools off."""
    short = granted.shortfall
    if short is not None and (refusal := _REFUSALS.get(short.kind)) is not None:
        return (LaunchFailed(zone=zone, at=at, capacity_type=capacity_type, refusal=refusal),)
    if granted.machines:
        return (Launched(zone=zone, at=at, capacity_type=capacity_type),)
    return ()


def reclaimed(
    before: Iterable[Machine], after: Iterable[Machine], at: float
) -> tuple[Reclaimed, ...]:
    """Say which zones took spot machines back between two lists.

    One that is no longer listed, or fails, is not counted: that may be anybody's doing.
    """
    alive = {one.id for one in before if one.alive}
    lost: dict[str, int] = {}
    for one in after:
        if one.id in alive and one.end == "reclaimed" and one.capacity_type == "spot":
            lost[one.zone] = lost.get(one.zone, 0) + 1
    return tuple(Reclaimed(zone=zone, at=at, count=lost[zone]) for zone in sorted(lost))


def _prefixes(name: str) -> Iterable[str]:
    """Yield the name, and what stands before each of its dashes, the longest first."""
    while name:
        yield name
        name = name.rpartition("-")[0]


def _phase(machine: Machine, node: Node | None) -> NodePhase:
    if machine.state == "stopping":
        return "leaving"
    match node.state if node else "loading":
        case "draining" | "drained":
            return "leaving"
        case "ready":
            return "ready"
        case _:
            return "starting"


def _idle(node: Node) -> bool:
    return node.state == "ready" and node.jobs == 0 and node.items == 0


def _hold(machine: Machine, node: Node | None) -> tuple[bool, int, int, float]:
    """Rank by what would be lost: nothing by those that start, least by the youngest."""
    if node is None or node.state != "ready":
        return False, 0, 0, -machine.started_at
    return True, node.items, node.jobs, -machine.started_at
