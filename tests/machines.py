"""Machines and nodes as tests need them."""

from fleet.job import CapacityType
from fleet.node import Node, NodeState
from fleet.pool.provider import Machine, MachineState


def machine(
    id_: str,
    *,
    state: MachineState = "running",
    zone: str = "a",
    capacity_type: CapacityType = "spot",
    started_at: float = 0.0,
) -> Machine:
    return Machine(
        id=id_, node=id_, capacity_type=capacity_type, zone=zone, instance_type="t", state=state,
        started_at=started_at,
    )  # fmt: skip


def node(name: str, state: NodeState = "ready", *, items: int = 0, at: float = 1.0) -> Node:
    return Node(
        node=name, pid=1, host="h", capacity_type="spot", zone="a", model="m", engine="e",
        state=state, started_at=0.0, at=at, items=items, jobs=min(items, 1),
    )  # fmt: skip
