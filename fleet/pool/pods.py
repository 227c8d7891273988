"""A pool in Kubernetes: others start pods and nodes, so we only say how many there should be."""

from collections.abc import Sequence

from fleet.node import Node
from fleet.pool.decision import Decision
from fleet.pool.hands import Sight, Sure
from fleet.pool.kubernetes import Board, Targets
from fleet.pool.provider import Fault
from fleet.pool.snapshot import BecameReady, Happening, Member, NodePhase

_PHASES: dict[str, NodePhase] = {
    "loading": "starting", "ready": "ready", "draining": "leaving", "drained": "leaving",
}  # fmt: skip


class Pods:
    """The pods that have a heartbeat, and the board that KEDA reads."""

    def __init__(self, board: Board, model: str) -> None:
        self._board = board
        self._model = model
        self._before: dict[str, NodePhase] | None = None

    async def look(self, nodes: Sequence[Node] | None) -> Sight | Fault:
        """Take every heartbeat for a pod; one that has none yet is not known here."""
        if nodes is None:
            return Fault(kind="unreachable", text="heartbeats could not be read")
        members = tuple(
            Member(
                name=one.node,
                zone=one.zone,
                capacity_type=one.capacity_type,
                phase=_PHASES[one.state],
                idle=one.state == "ready" and one.jobs == 0,
                launched_at=one.started_at,
            )
            for one in nodes
        )
        before = self._before or {}
        happened: tuple[Happening, ...] = tuple(
            BecameReady(zone=one.zone, at=at.at, capacity_type=one.capacity_type)
            for one, at in zip(members, nodes, strict=True)
            if one.phase == "ready" and before.get(one.name) == "starting"
        )
        self._before = {one.name: one.phase for one in members}
        return Sight(machines=(), nodes=tuple(nodes), members=members, happened=happened)

    async def carry_out(
        self, decision: Decision, sight: Sight, *, most: int, sure: Sure
    ) -> list[Happening]:
        """Publish the targets; KEDA and Karpenter take the steps, and have caps of their own."""
        del sight, most
        if sure():
            self._board.publish(
                self._model,
                Targets(spot=decision.spot, fallback=decision.fallback, realtime=decision.realtime),
            )
        return []

    def forget(self) -> None:
        """Publish nothing more: KEDA then asks whoever leads, or keeps what it has."""
        self._before = None
        self._board.withdraw()
