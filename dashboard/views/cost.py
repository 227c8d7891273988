"""The view of money: figures, a plot, and what the bill went for. Pure."""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from dashboard import units
from dashboard.cost_rows import CostLine, CostView, Figures, Group, cost_rows
from dashboard.lines import Line, Piece
from dashboard.look import Look
from dashboard.overview import window_name
from dashboard.plot import plot
from dashboard.snapshot import FleetSnapshot
from dashboard.table import Table
from dashboard.views.cells import number, word

_GROUPS: tuple[Group, ...] = ("pool", "tenant", "batch")


class CostRow(NamedTuple):
    """A row of today's bill, and what it is grouped by."""

    by: Group
    row: CostLine


def rows(snapshot: FleetSnapshot) -> list[CostRow]:
    """Give what today's bill went for: pools, then tenants, then batches."""
    return [CostRow(by, row) for by in _GROUPS for row in cost_rows(snapshot, by)]


def table(look: Look) -> Table[CostRow]:
    """Make the table of what today's bill went for."""
    return Table(
        name="cost",
        columns=(
            word("today by", 8, lambda one: one.by, look),
            word("name", 18, lambda one: one.row.name, look, grows=2),
            number("spent", 8, lambda one: one.row.usd, units.usd),
            number("useful", 8, lambda one: one.row.direct_usd, units.usd, priority=3),
            number("$/Mtok", 8, lambda one: one.row.usd_per_million, units.usd, priority=1),
            number("saved", 8, lambda one: one.row.saved_usd, units.usd, priority=2),
            number("hours", 7, lambda one: one.row.hours, units.rate, priority=4),
            number("items", 7, lambda one: one.row.items, units.count, priority=5),
            number("tokens", 7, lambda one: one.row.output_tokens, units.count, priority=6),
            number("on-dem.", 8, lambda one: one.row.on_demand_usd, units.usd, priority=7),
        ),
        key=lambda one: f"{one.by} {one.row.name}",
        words=lambda one: f"{one.by} {one.row.name}",
        empty="Nothing was paid for today, as far as EVENTS tell.",
    )  # fmt: skip


def figure_lines(view: CostView, window: str, look: Look) -> list[Line]:
    """Make the figures of the last hour beside those of today, UTC. window: that of rates."""
    costly = ", ".join(
        f"{look.text(row.node)} {units.usd(row.usd_per_million)}/Mtok" for row in view.costly[:3]
    )
    now = Piece(f" now {units.usd(view.now_usd_per_hour)}/h", "strong")
    first = [now, Piece(f"   costly over {window}: {costly}", "warn")] if costly else [now]
    lines = [Line(tuple(first)), Line((Piece(_HEAD * 2, "dim"),))]
    half = (len(_FIGURES) + 1) // 2
    for left, right in zip(_FIGURES[:half], _FIGURES[half:], strict=True):
        lines.append(Line((*_figure(left, view), *_figure(right, view))))
    if view.doubts:
        lines.append(Line((Piece(f" {look.text('; '.join(view.doubts))}", "warn"),)))
    return lines


def _figure(figure: "_Figure", view: CostView) -> tuple[Piece, Piece]:
    name, of = figure
    hour, today = (of(one) if one else units.DASH for one in (view.hour, view.today))
    return Piece(f" {name:<13}", "plain"), Piece(f"{hour:>13}{today:>13}", "strong")


def spend_lines(
    snapshot: FleetSnapshot, window_s: float, *, width: int, height: int, look: Look
) -> list[Line]:
    """Plot what the fleet cost an hour, over the window."""
    note = f"last {window_name(window_s)}"
    values = [moment.usd_per_hour for moment in snapshot.history.over(window_s)]
    return plot(values, width=width, height=height, write=_per_hour, note=note, look=look)


def _per_hour(usd: float) -> str:
    return f"{units.usd(usd)}/h"


def _with_share(usd: float | None, share: float | None) -> str:
    return f"{units.usd(usd)} {units.percent(share):>4}"


def _unpriced(figures: Figures) -> str:
    return f"{units.rate(figures.unpriced_hours)} h" if figures.unpriced_hours else "none"


_Figure: TypeAlias = tuple[str, Callable[[Figures], str]]
_HEAD: Final = f" {'':<13}{'last hour':>13}{'today UTC':>13}"
_FIGURES: Final[tuple[_Figure, ...]] = (
    ("spent", lambda one: units.usd(one.usd)),
    ("per M tokens", lambda one: units.usd(one.usd_per_million)),
    ("spot saved", lambda one: _with_share(one.saved_usd, one.saved_share)),
    ("lost: rework", lambda one: _with_share(one.lost_usd, one.lost_share)),
    ("idle", lambda one: _with_share(one.idle_usd, one.idle_share)),
    ("on fallback", lambda one: units.percent(one.fallback_share)),
    ("interruptions", lambda one: units.count(one.interruptions)),
    ("without price", _unpriced),
)
