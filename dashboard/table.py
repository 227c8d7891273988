"""What a view's table is made of, and which columns fit into a width. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Literal, NamedTuple, TypeAlias, TypeVar

Row = TypeVar("Row")
# What a cell wants to say by its look; widgets choose the style. Words say the same without it.
Tone: TypeAlias = Literal[
    "plain", "dim", "ok", "warn", "bad", "spot", "on-demand", "strong", "head", "key", "tab"
]
SortKey: TypeAlias = str | float
GAP: Final = 1


class Cell(NamedTuple):
    """A text, already safe, and its tone."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, kw_only=True)
class Column(Generic[Row]):
    """One column.

    width: cells, at least 1. priority: 0 never leaves, the largest leaves first. grows: takes a
    part of the width that is left. sort: None for what is unknown, which comes last either way.
    falls: sorting by it begins with the largest. rate: over a window, which is shown beside it.
    """

    title: str
    width: int
    cell: Callable[[Row], Cell]
    sort: Callable[[Row], SortKey | None]
    priority: int = 0
    right: bool = False
    grows: int = 0
    falls: bool = False
    rate: bool = False


@dataclass(frozen=True, kw_only=True)
class Table(Generic[Row]):
    """One table. key: names a row for good. words: what the filter searches. empty: said instead.

    dim: tells a row that is not to be trusted as it stands.
    """

    name: str
    columns: tuple[Column[Row], ...]
    key: Callable[[Row], str]
    words: Callable[[Row], str]
    empty: str
    dim: Callable[[Row], bool] = lambda _: False


class Placed(NamedTuple, Generic[Row]):
    """A column and how many cells it got."""

    column: Column[Row]
    width: int


class Order(NamedTuple):
    """By which column's title the rows stand; "" for the order of the model."""

    title: str = ""
    reverse: bool = False


def place(columns: Sequence[Column[Row]], width: int) -> list[Placed[Row]]:
    """Choose the columns that fit into `width` cells, and share out what is left."""
    kept = list(columns)
    while len(kept) > 1 and _need(kept) > width:
        last = max(column.priority for column in kept)
        if last == 0:
            break
        at = max(n for n, column in enumerate(kept) if column.priority == last)
        del kept[at]
    spare = max(0, width - _need(kept))
    shares = sum(column.grows for column in kept)
    return [
        Placed(column, column.width + (spare * column.grows // shares if shares else 0))
        for column in kept
    ]


def arranged(table: Table[Row], rows: Sequence[Row], order: Order) -> Sequence[Row]:
    """Sort rows; those whose value is unknown come last, whichever way."""
    column = next((c for c in table.columns if c.title == order.title), None)
    if column is None:
        return rows[::-1] if order.reverse else rows
    known: list[tuple[SortKey, Row]] = []
    unknown: list[Row] = []
    for row in rows:
        value = column.sort(row)
        if value is None:
            unknown.append(row)
        else:
            known.append((value, row))
    known.sort(key=lambda pair: pair[0], reverse=column.falls is not order.reverse)
    return [row for _, row in known] + unknown


def next_order(table: Table[Row], order: Order) -> Order:
    """Give the order by the next column, and after the last one the model's own."""
    titles = ["", *(column.title for column in table.columns)]
    at = titles.index(order.title) if order.title in titles else 0
    return Order(titles[(at + 1) % len(titles)])


def _need(columns: Sequence[Column[Row]]) -> int:
    return sum(column.width for column in columns) + GAP * max(0, len(columns) - 1)
