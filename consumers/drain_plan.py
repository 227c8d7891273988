"""Before a node vanishes: which items can be finished, and until when the others run."""

from collections.abc import Iterable

import msgspec


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How far an item is.

    to_go: the most tokens it may still need. made: those that it made here, in `for_s` seconds.
    keeps: whether another consumer goes on from them; else it begins again.
    """

    to_go: int
    made: int
    for_s: float
    keeps: bool = True


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a job's items.

    finish: how many will be finished in time. save: how many will be saved in the middle. worth_it:
    whether anything is gained by running on; else the job is handed over at once.
    """

    finish: int
    save: int
    worth_it: bool


def plan(items: Iterable[Pace], *, save_in_s: float) -> Plan:
    """Predict what can be finished in `save_in_s` seconds, the time left without the reserve.

    An item that made tokens is worth running on even if it will not be finished, for what it makes
    is saved. One that made none yet, or whose tokens are of no use to another consumer, and that
    cannot be finished, begins elsewhere just as well.
    """
    paces = list(items)
    finish = sum(_finish_s(pace) <= save_in_s for pace in paces)
    grows = any(pace.made and pace.keeps for pace in paces)
    return Plan(
        finish=finish,
        save=len(paces) - finish,
        worth_it=save_in_s > 0 and (finish > 0 or grows),
    )


def _finish_s(pace: Pace) -> float:
    """Predict by the item's own rate; without a rate there is no telling, so it does not fit."""
    if pace.to_go <= 0:
        return 0.0
    if pace.made <= 0 or pace.for_s <= 0:
        return float("inf")
    return pace.to_go * pace.for_s / pace.made
