"""How a pool is seen and moved, whoever owns the machines."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import msgspec

from fleet.node import Node
from fleet.pool.decision import Decision
from fleet.pool.provider import Fault, Machine
from fleet.pool.snapshot import Happening, Member

# Says whether we may still act; asked before every step.
Sure: TypeAlias = Callable[[], bool]


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What is there. machines: those that ended lately, too. happened: since the last look."""

    machines: tuple[Machine, ...]
    nodes: tuple[Node, ...]
    members: tuple[Member, ...]
    happened: tuple[Happening, ...] = ()


class Hands(Protocol):
    """Sees what a pool has, and moves it."""

    async def look(self, nodes: Sequence[Node] | None) -> Sight | Fault:
        """Say what is there. nodes: by heartbeat; None where these could not be read."""
        ...

    async def carry_out(
        self, decision: Decision, sight: Sight, *, most: int, sure: Sure
    ) -> list[Happening]:
        """Do what was decided, with `most` launches at most; return what came of it."""
        ...

    def forget(self) -> None:
        """Forget what was seen: somebody else acted since, or will."""
        ...
