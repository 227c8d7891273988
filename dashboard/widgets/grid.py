"""A table of any length: only the rows that are seen become text."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Final, Generic, TypeVar

from textual import events
from textual.binding import BindingType
from textual.geometry import Size

from dashboard import lines
from dashboard.keys import ROW_KEYS
from dashboard.lines import Line, Piece
from dashboard.look import Look
from dashboard.messages import CursorMoved, RowOpened
from dashboard.seeking import Filter
from dashboard.table import Order, Placed, Table, arranged, next_order, place
from dashboard.widgets.painted import Painted

Row = TypeVar("Row")
HEAD: Final = 1


class Grid(Painted, Generic[Row], can_focus=True):
    """One table. The cursor stays with its row, whatever happens around it."""

    BINDINGS: ClassVar[list[BindingType]] = [*ROW_KEYS]

    def __init__(self, table: Table[Row], look: Look, *, id: str | None = None) -> None:  # noqa: A002 -- Textual's name
        super().__init__(look, id=id)
        self.table = table
        self.order = Order()
        self.filter = Filter()
        self.window = ""
        self.is_active = True
        self._all: Sequence[Row] = ()
        self._rows: Sequence[Row] = ()
        self._placed: list[Placed[Row]] = []
        self._at = 0
        self._key: str | None = None

    @property
    def shown(self) -> int:
        """How many rows the filter lets through."""
        return len(self._rows)

    @property
    def total(self) -> int:
        """How many rows there are."""
        return len(self._all)

    @property
    def position(self) -> int:
        """Which of the rows is under the cursor, from 1; 0 where there is none."""
        return self._at + 1 if self._rows else 0

    @property
    def current(self) -> Row | None:
        """The row under the cursor."""
        return self._rows[self._at] if self._at < len(self._rows) else None

    def show(self, rows: Sequence[Row]) -> None:
        """Take newer rows in the place of all before."""
        self._all = rows
        self._arrange()

    def sort(self, *, onwards: bool) -> Order:
        """Sort by the next column, or turn the order round."""
        if onwards:
            self.order = next_order(self.table, self.order)
        else:
            self.order = Order(self.order.title, not self.order.reverse)
        self._arrange()
        return self.order

    def seek(self, wanted: Filter) -> None:
        """Show only what the filter lets through."""
        self.filter = wanted
        self._arrange()

    def _arrange(self) -> None:
        rows = self._all
        if self.filter.pattern is not None:
            words, lets = self.table.words, self.filter.lets
            rows = [row for row in rows if lets(words(row))]
        self._rows = arranged(self.table, rows, self.order)
        self._at = self._found()
        size = Size(0, len(self._rows) + HEAD)
        if size != self.virtual_size:
            self.virtual_size = size
        self._keep_in_sight()
        self.refresh_changed()

    def _found(self) -> int:
        """Where the cursor's row is now; if it is gone, as near as can be."""
        key, key_of = self._key, self.table.key
        at = max(0, min(self._at, len(self._rows) - 1))
        if key is not None:
            for place in _outwards(at, len(self._rows)):
                if key_of(self._rows[place]) == key:
                    return place
        # A filter hides the row for a while: with the filter gone, the cursor is on it again.
        if self._rows and self.filter.pattern is None and key is not None:
            self._key = key_of(self._rows[at])
        return at

    def _move(self, at: int) -> None:
        if not self._rows:
            return
        self._at = max(0, min(at, len(self._rows) - 1))
        self._key = self.table.key(self._rows[self._at])
        self._keep_in_sight()
        self.refresh_changed()
        self.post_message(CursorMoved())

    def _keep_in_sight(self) -> None:
        page = max(1, self._page)
        top = self.scroll_offset.y
        wanted = min(max(top, self._at - page + 1), self._at)
        wanted = max(0, min(wanted, len(self._rows) - page))
        if wanted != top:
            self.scroll_to(y=wanted, animate=False, immediate=True)

    @property
    def _page(self) -> int:
        return self.area.height - HEAD

    def line(self, y: int) -> Line | None:
        """Give the titles, then rows, and words where there are no rows."""
        if y < HEAD:
            return lines.head(self._placed, self.order, self.window, self.look)
        at = y - HEAD + self.scroll_offset.y
        if at < len(self._rows):
            row, cursor = self._rows[at], at == self._at and self.is_active
            return lines.body(self.table, self._placed, row, cursor=cursor, look=self.look)
        if y == HEAD and not self._rows:
            return Line((Piece(self.look.drawn(self._nothing()), "dim"),))
        return None

    def _nothing(self) -> str:
        if self.filter.pattern is not None and self._all:
            return f"None of {len(self._all)} rows matches the filter."
        return self.table.empty

    def on_resize(self, event: events.Resize) -> None:
        """Choose the columns that fit now."""
        del event
        self._placed = place(self.table.columns, self.area.width)
        self._arrange()
        self.repaint()

    def on_click(self, event: events.Click) -> None:
        """Sort by the title that someone pointed to, or go to the row; twice opens it."""
        if event.y < HEAD:
            self._sort_at(event.x)
            return
        at = event.y - HEAD + self.scroll_offset.y
        if at < len(self._rows):
            self._move(at)
            if event.chain > 1:
                self.action_open()

    def _sort_at(self, x: int) -> None:
        edge = 0
        for column, width in self._placed:
            edge += width + 1
            if x < edge:
                again = column.title == self.order.title
                self.order = Order(column.title, again and not self.order.reverse)
                self._arrange()
                self.post_message(CursorMoved())
                return

    def action_down(self) -> None:
        """Go one row down."""
        self._move(self._at + 1)

    def action_up(self) -> None:
        """Go one row up."""
        self._move(self._at - 1)

    def action_page(self, pages: int) -> None:
        """Go as many rows as are seen."""
        self._move(self._at + pages * max(1, self._page))

    def action_top(self) -> None:
        """Go to the first row."""
        self._move(0)

    def action_bottom(self) -> None:
        """Go to the last row."""
        self._move(len(self._rows) - 1)

    def action_open(self) -> None:
        """Ask for all that is known about this row."""
        if self.current is not None:
            self.post_message(RowOpened())


def _outwards(start: int, length: int) -> Iterator[int]:
    """Give all places, the nearest to `start` first: rows seldom move far in a second."""
    for distance in range(length):
        if start - distance >= 0:
            yield start - distance
        if distance and start + distance < length:
            yield start + distance
