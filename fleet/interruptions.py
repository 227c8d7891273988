"""What each interruption cost: work that was lost, the tail of a drain, and starting again."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from fleet.events import NodeDraining, NodeResumed, NodeStopped
from fleet.job import CapacityType
from fleet.ledger import Account
from fleet.lives import Life

# A node that starts so long after the end of another one was not started for its sake.
SUCCESSOR_S: Final = 3600.0


class Interruption(msgspec.Struct, frozen=True, kw_only=True):
    """A node that was taken from its work.

    at: seconds since the epoch; when its notice came, or its last sign of life. how: who gave
    notice, or what was seen of its end. lost: work that had to be done again. drain_tail: paid
    after the notice, and without work. restart: the start-up of the node that came instead, if one
    did. usd: of the three; 0 where no price is known.
    """

    node: str
    capacity_type: CapacityType
    zone: str
    model: str
    at: float
    how: str
    lost_s: float
    drain_tail_s: float
    restart_s: float
    successor: str | None
    usd: float


def interruptions(accounts: Sequence[Account]) -> list[Interruption]:
    """List them in the order of time.

    An orderly end is none: an operator's command, or a signal that found nothing in hand.
    """
    taken: set[int] = set()
    found: list[Interruption] = []
    ends = [(at, account) for account in accounts if (at := _interrupted(account.life)) is not None]
    for at, account in sorted(ends, key=lambda end: (end[0], end[1].life.node)):
        life = account.life
        successor = _successor(life, at, accounts, taken)
        if successor is not None:
            taken.add(id(successor))
        lost_s, lost_usd = account.sum_of("lost")
        tail_s, tail_usd = account.sum_of("drain_tail")
        restart_s, restart_usd = successor.sum_of("start_up") if successor else (0.0, 0.0)
        found.append(
            Interruption(
                node=life.node,
                capacity_type=life.capacity_type,
                zone=life.zone,
                model=life.model,
                at=at,
                how=life.how,
                lost_s=lost_s,
                drain_tail_s=tail_s,
                restart_s=restart_s,
                successor=successor.life.node if successor else None,
                usd=lost_usd + tail_usd + restart_usd,
            )
        )
    return found


def _interrupted(life: Life) -> float | None:
    """Tell when a life was interrupted; None if it was not, or the notice was called off."""
    notice: NodeDraining | None = None
    for event in life.events:
        match event:
            case NodeDraining() if notice is None:
                notice = event
            case NodeResumed():
                notice = None
            case _:
                pass
    stopped = any(isinstance(event, NodeStopped) for event in life.events)
    if notice is not None and notice.jobs and notice.cause != "command":
        return notice.at
    return None if stopped or life.is_alive else life.end


def _successor(
    life: Life, at: float, accounts: Iterable[Account], taken: set[int]
) -> Account | None:
    """Find who came instead: the next of its kind that nobody else was followed by."""
    return next(
        (
            other
            for other in accounts
            if other.life is not life
            and id(other) not in taken
            and (other.life.capacity_type, other.life.model) == (life.capacity_type, life.model)
            and at <= other.life.start <= life.end + SUCCESSOR_S
        ),
        None,
    )
