"""The one checker: what a history must satisfy, whatever was done to the fleet. Pure."""

import re
from collections import Counter
from collections.abc import Sequence

import msgspec

from tests.fault.history import Entry, Op

INJURIES: tuple[Op, ...] = ("kill", "freeze", "block", "notice", "drain", "fail")
_CODE = re.compile(r"[a-z][a-z0-9_]*")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the fleet was set up with. slots: items at once in a consumer, each at tokens_per_s.

    nodes: consumers that work beside each other. items: how many items each published job has.
    """

    nodes: int
    checkpoint_s: float
    slots: int
    tokens_per_s: float
    items: dict[str, int]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a history comes to. again: tokens that were generated and not delivered."""

    jobs: int
    items: int
    lost: int
    doubled: int
    wrong: int
    interruptions: int
    again: int
    allowed: int
    violations: tuple[str, ...]


def check(history: Sequence[Entry], limits: Limits) -> Found:
    """Look for violations of I1 to I6 and I8."""
    lines = Counter((e.job, e.item) for e in history if e.op == "line")
    dead = {e.job for e in history if e.op == "dead"}
    stored = {e.job for e in history if e.op == "publish" and e.outcome == "stored"}
    lost = [
        f"I1: {job} item {item} has no result and no dead letter"
        for job in sorted(stored - dead)
        for item in range(limits.items[job])
        if (job, item) not in lines
    ]
    doubled = [f"I2: {job} item {item} has {n} lines" for (job, item), n in lines.items() if n > 1]
    wrong = [f"I4: {e.job} item {e.item} is wrong" for e in history if e.outcome == "wrong"]
    again, allowed = _again(history), _allowed(history, limits)
    rework = [f"I3: {again} tokens again, {allowed} allowed"] if again > allowed else []
    return Found(
        jobs=len(stored),
        items=sum(limits.items[job] for job in stored),
        lost=len(lost),
        doubled=len(doubled),
        wrong=len(wrong),
        interruptions=sum(e.op in INJURIES for e in history),
        again=again,
        allowed=allowed,
        violations=(*lost, *doubled, *wrong, *rework, *_unclear(history), *_stuck(history)),
    )


def _again(history: Sequence[Entry]) -> int:
    def total(op: Op) -> int:
        return sum(int(e.outcome) for e in history if e.op == op)

    return max(0, total("tokens_generated") - total("tokens_delivered"))


def _allowed(history: Sequence[Entry], limits: Limits) -> int:
    """Bound what may be generated again: each hard interruption costs what was not yet saved.

    That is a checkpoint interval, and the second that a write may take on a busy machine. While a
    broker is away none of the nodes can save, and afterwards each has to find back to it.
    """
    hard = sum(e.op == "taken_over" and bool(e.outcome) for e in history)
    hard += sum(e.op in {"kill", "freeze", "lost", "fail"} for e in history)
    outages = [float(e.outcome) for e in history if e.op == "outage"]
    unsaved_s = hard * (limits.checkpoint_s + 1.0)
    unsaved_s += limits.nodes * sum(outage_s + limits.checkpoint_s + 1.0 for outage_s in outages)
    return int(unsaved_s * limits.slots * limits.tokens_per_s)


def _unclear(history: Sequence[Entry]) -> list[str]:
    """I5: an error says what it is about and why."""
    told = [e for e in history if e.op in {"line", "dead"} and e.outcome.startswith("error:")]
    return [
        f"I5: the error of {e.job} item {e.item} says only {e.outcome!r}"
        for e in told
        if not _CODE.fullmatch(e.outcome.split(":")[1]) or e.outcome.endswith(":unclear")
    ]


def _stuck(history: Sequence[Entry]) -> list[str]:
    """I6 and I8: nothing waits, is deaf, or is left; and the product's own proof agrees."""
    names: dict[Op, str] = {
        "still_queued": "I6: still in the queue",
        "deaf": "I6: alive and deaf",
        "left_behind": "I8: left behind",
        "unproven": "`fleet verify`",
    }
    return [f"{names[e.op]}: {e.actor} {e.job} {e.outcome}" for e in history if e.op in names]
