"""The audit: is every answer there once, what was generated again, and what did it cost. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from fleet.job import ResultLine
from fleet.node import Node

# Example prices of one H100 hour. They are a label on the demo's processes, not a bill.
PRICES_USD_PER_HOUR = {"on-demand": 4.50, "spot": 1.80}


class Interruption(msgspec.Struct, frozen=True, kw_only=True):
    """One node that went away. went_on_s: until another consumer had its work; None: it had none.

    kind: `kill -9` or `notice`.
    """

    kind: str
    node: str
    went_on_s: float | None
    taken_by: str | None = None


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the demonstration; `ok` is the verdict.

    missing, doubled: items without a line, and with more than one. failed: items with an error.
    interrupted: items that another consumer finished, by how they went on. wrong: those of them
    whose text differs from what an undisturbed consumer answers. tokens_again: generated beyond
    what was delivered; a killed node is known up to its last heartbeat, one second at most before.
    late: batches that were done behind their deadline. cost_usd: the fleet's bill until the audit,
    by what it was paid for; on_demand_usd: what the same work would have cost on on-demand.
    """

    engine: str
    items: int
    missing: int
    doubled: int
    failed: int
    interrupted: dict[str, int]
    compared: int
    wrong: int
    tokens_delivered: int
    tokens_generated: int
    tokens_again: int
    interruptions: tuple[Interruption, ...]
    realtime_answers: int
    realtime_on_spot: int
    background_answers: int
    background_on_spot: int
    late: int
    cost_usd: dict[str, float]
    on_demand_usd: float | None
    left_behind: tuple[int, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing missing, doubled, failed, wrong, misrouted, late or left; both losses healed."""
        flaws = self.missing + self.doubled + self.failed + self.wrong + self.realtime_on_spot
        flaws += len(self.left_behind) + self.late
        healed = all(one.went_on_s is not None for one in self.interruptions)
        return flaws == 0 and healed and len(self.interruptions) == 2


def count_lines(lines: Sequence[ResultLine]) -> Counter[tuple[str, int]]:
    """Count the lines of each item in a raw log, where a double would show."""
    return Counter((line.fleet.job, line.fleet.item) for line in lines)


def delivered(lines: Sequence[ResultLine]) -> int:
    """Sum the output tokens of result lines."""
    return sum((line.usage or {}).get("completion_tokens", 0) for line in lines)


def generated(beats: Mapping[str, Node]) -> int:
    """Sum what all nodes generated, by their last heartbeat."""
    return sum(node.tokens_generated for node in beats.values())


def report(audit: Audit) -> str:
    """Write the audit for people."""
    how = ", ".join(f"{count} {kind}" for kind, count in audit.interrupted.items())
    flaws = f"{audit.missing} missing, {audit.doubled} doubled, {audit.failed} failed"
    again = audit.tokens_again / max(1, audit.tokens_generated)
    rows = {
        "items": f"{audit.items}: {flaws}",
        "interrupted items": how or "none",
        "compared with an undisturbed run": f"{audit.compared}, {audit.wrong} different",
        "tokens delivered": f"{audit.tokens_delivered}",
        "tokens generated again": f"{audit.tokens_again} ({again:.1%})",
    }
    for one in audit.interruptions:
        rows[f"{one.kind} of {one.node}"] = (
            "nobody took its work"
            if one.went_on_s is None
            else f"work went on at {one.taken_by} after {one.went_on_s:.2f} s"
        )
    beside = f"{audit.realtime_answers} real-time, {audit.background_answers} background"
    rows["real-time answers on spot"] = f"{audit.realtime_on_spot}"
    rows["answers beside the batch"] = f"{beside} ({audit.background_on_spot} of these on spot)"
    rows["batches behind their deadline"] = f"{audit.late}"
    parts = (f"{name} {usd:.4f}" for name, usd in audit.cost_usd.items() if usd)
    paid = f"{sum(audit.cost_usd.values()):.4f} USD: {', '.join(parts)}"
    rows["the ledger, at example H100 prices"] = paid
    if audit.on_demand_usd is not None:
        rows["the same work on on-demand"] = f"{audit.on_demand_usd:.4f} USD"
    rows["processes left behind"] = f"{len(audit.left_behind)}"
    rows["verdict"] = "PASS" if audit.ok else "FAIL"
    width = max(map(len, rows))
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows.items())
