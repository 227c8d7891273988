"""Columns leave by priority; rows whose value is unknown come last."""

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from dashboard import lines
from dashboard.look import Look
from dashboard.table import Cell, Column, Order, Table, arranged, next_order, place

Pair = tuple[str, float | None]


def column(title: str, width: int, priority: int = 0, grows: int = 0) -> Column[Pair]:
    return Column(
        title=title,
        width=width,
        priority=priority,
        grows=grows,
        cell=lambda pair: Cell(pair[0]),
        sort=(lambda pair: pair[0]) if title == "name" else (lambda pair: pair[1]),
        falls=title != "name",
    )


TABLE: Table[Pair] = Table(
    name="pairs",
    columns=(column("name", 8, grows=1), column("size", 5, 1), column("more", 5, 2)),
    key=lambda pair: pair[0],
    words=lambda pair: pair[0],
    empty="none",
)


def test_the_least_important_column_leaves_first() -> None:
    def titles(width: int) -> list[str]:
        return [placed.column.title for placed in place(TABLE.columns, width)]

    assert titles(20) == ["name", "size", "more"]
    assert titles(19) == ["name", "size"]
    assert titles(13) == ["name"]
    assert titles(1) == ["name"]


@given(st.integers(1, 300))
def test_a_line_is_never_wider_than_its_columns(width: int) -> None:
    placed = place(TABLE.columns, width)
    row: Pair = ("日本語" * 200, 1.0)
    line = lines.body(TABLE, placed, row, cursor=False, look=Look())
    cells = sum(cell_len(piece.text) for piece in line.pieces)
    assert cells == sum(p.width + 1 for p in placed)
    assert cells <= max(width, 8) + 1


def test_what_is_left_goes_to_those_that_grow() -> None:
    assert [placed.width for placed in place(TABLE.columns, 40)] == [28, 5, 5]


def test_unknown_values_come_last_either_way() -> None:
    rows: list[Pair] = [("a", None), ("b", 1.0), ("c", 3.0)]
    assert [r[0] for r in arranged(TABLE, rows, Order("size"))] == ["c", "b", "a"]
    assert [r[0] for r in arranged(TABLE, rows, Order("size", reverse=True))] == ["b", "c", "a"]


def test_sorting_goes_through_all_columns_and_back_to_the_order_of_the_model() -> None:
    order, seen = Order(), []
    for _ in range(4):
        order = next_order(TABLE, order)
        seen.append(order.title)
    assert seen == ["name", "size", "more", ""]
