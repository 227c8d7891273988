"""Rows to lines of a table: as wide as their columns, cut with an ellipsis. Pure."""

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeVar

from rich.cells import cell_len, set_cell_size

from dashboard.look import Look
from dashboard.table import GAP, Cell, Order, Placed, Table, Tone

Row = TypeVar("Row")
# To move a terminal's cursor over fewer cells than these costs more than to write them again.
NEAR: Final = 12


class Piece(NamedTuple):
    """Text of one look. Its width on the screen is that of its column and the gap behind it."""

    text: str
    tone: Tone


class Line(NamedTuple):
    """One line of a table, and what goes for all of it."""

    pieces: tuple[Piece, ...]
    cursor: bool = False
    dim: bool = False
    head: bool = False


def head(placed: Sequence[Placed[Row]], order: Order, window: str, look: Look) -> Line:
    """Make the line of titles; the one by which rows are sorted says which way.

    window: over which rates are, as it stands beside each.
    """
    pieces = []
    for column, width in placed:
        sorted_by = column.title == order.title
        falls = column.falls is not order.reverse
        mark = look.glyph("down" if falls else "up") if sorted_by else ""
        title = mark + column.title + (f" {window}" if column.rate else "")
        pieces.append(Piece(fitted(title, width, right=column.right, look=look), "head"))
    return Line(tuple(pieces), head=True)


def body(
    table: Table[Row], placed: Sequence[Placed[Row]], row: Row, *, cursor: bool, look: Look
) -> Line:
    """Make the line of one row."""
    pieces = []
    for column, width in placed:
        cell: Cell = column.cell(row)
        text = fitted(look.drawn(cell.text), width, right=column.right, look=look)
        pieces.append(Piece(text, cell.tone))
    return Line(tuple(pieces), cursor=cursor, dim=table.dim(row))


def fitted(text: str, width: int, *, right: bool, look: Look) -> str:
    """Cut or fill `text` to `width` cells, and add the gap."""
    text = cut(text, width, look)
    space = " " * (width - cells_of(text))
    return (space + text if right else text + space) + " " * GAP


def cut(text: str, width: int, look: Look) -> str:
    """Cut `text` to at most `width` cells; an ellipsis says so.

    A name is cut in its middle: those of a batch's jobs differ at their ends alone.
    """
    if cells_of(text) <= width:
        return text
    mark = look.drawn("…")
    if text.isascii() and " " not in text:
        tail = (width - len(mark)) // 2
        return text[: width - len(mark) - tail] + mark + text[len(text) - tail :]
    return set_cell_size(text, width - len(mark)) + mark


def cells_of(text: str) -> int:
    """Tell how many cells a text takes."""
    return len(text) if text.isascii() else cell_len(text)


def changed(line: Line | None, before: Line | None, width: int) -> list[tuple[int, int]]:
    """Tell from which cells to which a line differs from what was drawn."""
    if line is None or before is None or line[1:] != before[1:]:
        return [(0, width)]
    old, new = _spans(before), _spans(line)
    parts: list[tuple[int, int]] = []
    for start, end, _ in sorted(old ^ new):
        if parts and start - parts[-1][1] < NEAR:
            parts[-1] = (parts[-1][0], max(parts[-1][1], end))
        else:
            parts.append((start, end))
    return [(start, min(width, end)) for start, end in parts if start < width]


def _spans(line: Line) -> set[tuple[int, int, Piece]]:
    spans: set[tuple[int, int, Piece]] = set()
    at = 0
    for piece in line.pieces:
        end = at + cells_of(piece.text)
        spans.add((at, end, piece))
        at = end
    return spans
