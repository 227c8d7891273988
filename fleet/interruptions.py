"""What each interruption cost: work that was lost, the tail of a drain, and starting again."""

from bisect import bisect_left
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
    found: list[Interruption] = []
    queues = _Queues(accounts)
    ends = [(at, account) for account in accounts if (at := _interrupted(account.life)) is not None]
    for at, account in sorted(ends, key=lambda end: (end[0], end[1].life.node)):
        life = account.life
        successor = queues.successor(life, at)
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


class _Queues:
    """Who started when, by kind of node; each of them comes instead of one other at most."""

    def __init__(self, accounts: Iterable[Account]) -> None:
        self._waiting: dict[tuple[str, str], list[Account]] = {}
        for account in sorted(accounts, key=lambda one: (one.life.start, one.life.node)):
            self._waiting.setdefault(_kind(account.life), []).append(account)

    def successor(self, life: Life, at: float) -> Account | None:
        """Take the next node that started after `at`, if it came soon enough."""
        waiting = self._waiting[_kind(life)]
        place = bisect_left(waiting, at, key=lambda one: one.life.start)
        if place < len(waiting) and waiting[place].life is life:
            place += 1
        if place == len(waiting) or waiting[place].life.start > life.end + SUCCESSOR_S:
            return None
        return waiting.pop(place)


def _kind(life: Life) -> tuple[str, str]:
    return life.capacity_type, life.model
