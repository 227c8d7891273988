"""A cost report as text."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from fleet.cli.table import aligned
from fleet.cli.times import length
from fleet.cost import Report, Row
from fleet.interruptions import Interruption
from fleet.subjects import plain

# More of them say nothing new on a terminal; --json has all.
SHOWN: Final = 40
WORDS: Final = {
    "useful": "useful work",
    "in_hand": "in hand now",
    "start_up": "start-up",
    "lost": "lost work",
    "drain_tail": "drain tails",
    "checkpoint_stall": "checkpoint stalls",
    "idle": "idle",
}


def text(report: Report) -> str:
    """Write a report for people."""
    return "\n".join([*_bill(report), "", *_table(report), *_ends(report)])


def _bill(report: Report) -> Iterator[str]:
    yield (f"{_usd(report.bill_usd)} USD for {_time(report.node_hours)} of {report.nodes} nodes")
    rows = [
        (f"  {WORDS[part]}", _time(s.hours), f"{_usd(s.usd)} USD", f"{s.share:.1%}")
        for part, s in report.parts.items()
    ]
    yield aligned(rows)
    if report.unpriced_hours:
        yield f"  not in the bill: {_time(report.unpriced_hours)} of nodes without a price"
    if report.unmetered:
        names = ", ".join(map(plain, report.unmetered[:3]))
        more = ", ..." if len(report.unmetered) > 3 else ""
        yield f"  counted as idle: nodes that did not tell what they did ({names}{more})"
    if report.usd_per_million is not None:
        yield (
            f"{_usd(report.usd_per_million)} USD per million output tokens "
            f"({report.output_tokens:,} of {report.items:,} items)"
        )
    yield _saved(report)
    fallback = report.fallback
    yield (
        f"{fallback.share:.1%} of background and batch work ran on on-demand "
        f"({_time(fallback.hours)}, {_usd(fallback.usd)} USD)"
    )
    count = len(report.interruptions)
    each = f", {_usd(report.interruptions_usd / count)} each" if count else ""
    yield f"{count} interruptions cost {_usd(report.interruptions_usd)} USD{each}"


def _saved(report: Report) -> str:
    if report.on_demand_usd is None or report.saved_usd is None:
        return "the same work on on-demand: no price is known, so nothing is said of savings"
    word = "saved" if report.saved_usd >= 0 else "paid more"
    share = f" ({abs(report.saved_share):.2%})" if report.saved_share is not None else ""
    return (
        f"{_usd(report.on_demand_usd)} USD for the same work on on-demand: "
        f"{word} {_usd(abs(report.saved_usd))} USD{share}"
    )


def _table(report: Report) -> Iterator[str]:
    head = (
        report.by.upper(), "TIME", "USD", "USEFUL USD", "ITEMS", "OUT TOKENS", "USD/M",
        "SAVED USD",
    )  # fmt: skip
    yield aligned([head, *(_cells(row) for row in report.rows[:SHOWN])])
    if len(report.rows) > SHOWN:
        yield f"and {len(report.rows) - SHOWN} more: --json lists all"


def _cells(row: Row) -> tuple[str, ...]:
    return (
        plain(row.name), _time(row.hours), _usd(row.usd), _usd(row.direct_usd), f"{row.items:,}",
        f"{row.output_tokens:,}", _usd(row.usd_per_million), _usd(row.saved_usd),
    )  # fmt: skip


def _ends(report: Report) -> Iterator[str]:
    if not report.interruptions:
        return
    yield ""
    head = ("INTERRUPTED", "AT", "BY", "LOST WORK", "TAIL", "NEW START", "USD", "SUCCESSOR")
    yield aligned([head, *(_end(one) for one in report.interruptions[-SHOWN:])])
    if len(report.interruptions) > SHOWN:
        yield f"the last {SHOWN} of {len(report.interruptions)}: --json lists all"


def _end(one: Interruption) -> tuple[str, ...]:
    at = datetime.fromtimestamp(one.at, UTC).isoformat(sep=" ", timespec="seconds")[:-6]
    return (
        plain(one.node), f"{at}Z", plain(one.how), length(one.lost_s), length(one.drain_tail_s),
        length(one.restart_s), _usd(one.usd), plain(one.successor or "-"),
    )  # fmt: skip


def _time(hours: float) -> str:
    return length(hours * 3600)


def _usd(value: float | None) -> str:
    """Show money to the cent, and sums under ten dollars to a hundredth of it."""
    if value is None:
        return "-"
    return f"{value:,.2f}" if abs(value) >= 10 else f"{value:.4f}"
