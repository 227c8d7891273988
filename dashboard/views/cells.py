"""Cells that several views have. Pure."""

from collections.abc import Callable
from typing import TypeVar

from dashboard import units
from dashboard.look import Look
from dashboard.table import Cell, Column, Tone

Row = TypeVar("Row")
Number = Callable[[Row], float | None]


def word(
    title: str, width: int, of: Callable[[Row], str | None], look: Look, *, priority: int = 0,
    grows: int = 0, tone: Tone = "plain",
) -> Column[Row]:  # fmt: skip
    """Make a column of foreign words; a dash where there is none."""

    def cell(row: Row) -> Cell:
        text = of(row)
        return Cell(look.text(text), tone) if text else Cell(units.DASH, "dim")

    return Column(
        title=title, width=width, priority=priority, grows=grows, cell=cell,
        sort=lambda row: of(row) or None,
    )  # fmt: skip


def number(
    title: str, width: int, of: Number[Row], write: Callable[[float | None], str], *,
    priority: int = 0, tone: Callable[[Row], Tone] | None = None, falls: bool = True,
    rate: bool = False,
) -> Column[Row]:  # fmt: skip
    """Make a column of numbers at the right; what is unknown is a dash and dim."""

    def cell(row: Row) -> Cell:
        value = of(row)
        if value is None:
            return Cell(units.DASH, "dim")
        return Cell(write(value), tone(row) if tone else "plain")

    return Column(
        title=title, width=width, priority=priority, right=True, cell=cell, sort=of, falls=falls,
        rate=rate,
    )  # fmt: skip


def share(title: str, width: int, of: Number[Row], look: Look, *, priority: int = 0) -> Column[Row]:
    """Make a column of bars with their percent."""

    def cell(row: Row) -> Cell:
        value = of(row)
        if value is None:
            return Cell(units.DASH, "dim")
        return Cell(f"{look.bar(value, width - 5)} {units.percent(value):>4}")

    return Column(title=title, width=width, priority=priority, cell=cell, sort=of, falls=True)


def above_zero(of: Number[Row], tone: Tone) -> Callable[[Row], Tone]:
    """Choose the tone for numbers that had better be 0."""
    return lambda row: tone if of(row) else "dim"
