"""Nodes: their heartbeats, how fast they work, and those that were lost."""

from typing import Final

import msgspec

from dashboard.live.budget import Budget
from dashboard.live.events import Heard
from dashboard.live.watch import Change, Watch
from dashboard.pace import Pace
from dashboard.snapshot import LOST_KEPT_S, NodeFact
from fleet.broker.connection import Connection
from fleet.node import Node
from fleet.subjects import NODES

# So many of those that were lost stay on the screen.
MOST_LOST: Final = 200


class NodeLook:
    """Reads heartbeats."""

    def __init__(self, heard: Heard, budget: Budget) -> None:
        self._watch = Watch(NODES, Node, budget)
        self._heard = heard
        self._alive: dict[str, NodeFact] = {}
        self._lost: dict[str, NodeFact] = {}

    @property
    def alive(self) -> frozenset[str]:
        """The nodes whose heart beats."""
        return frozenset(self._alive)

    @property
    def beats(self) -> dict[str, float]:
        """When each of them beat last, by its own clock."""
        return {name: fact.node.at for name, fact in self._alive.items()}

    def restart(self) -> None:
        """Read all of it again with the next look."""
        self._watch.restart()

    async def look(self, connection: Connection, now: float) -> None:
        """Read what is new. Raises BrokerRefused, BrokerUnreachable."""
        for change in await self._watch.changes(connection):
            if change.value is None:
                self._end(change, now)
            else:
                self._beat(change.value, change.at)

    def facts(self, now: float) -> tuple[NodeFact, ...]:
        """Give all nodes, those that were lost a short while ago among them."""
        for name in [n for n, fact in self._lost.items() if _age(fact, now) > LOST_KEPT_S]:
            del self._lost[name]
        lost = [
            msgspec.structs.replace(fact, how=self._heard.ends.get(name, fact.how))
            for name, fact in self._lost.items()
        ]
        return (*self._alive.values(), *lost)

    def _beat(self, node: Node, at: float) -> None:
        pace = self._heard.tokens.setdefault(node.node, Pace())
        pace.add(at, node.tokens_generated)
        self._lost.pop(node.node, None)
        self._alive[node.node] = NodeFact(node=node, heard_at=at, tokens_per_s=pace.rates())

    def _end(self, change: Change[Node], now: float) -> None:
        fact = self._alive.pop(change.key, None)
        self._heard.tokens.pop(change.key, None)
        # One that ends in order takes its key away itself.
        if fact is None or change.end == "removed":
            return
        how = f"vanished, {fact.node.notice}" if fact.node.notice else "vanished"
        self._lost[change.key] = msgspec.structs.replace(fact, lost_at=change.at or now, how=how)
        while len(self._lost) > MOST_LOST:
            del self._lost[next(iter(self._lost))]


def _age(fact: NodeFact, now: float) -> float:
    return 0.0 if fact.lost_at is None else now - fact.lost_at
