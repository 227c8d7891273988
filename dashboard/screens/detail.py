"""Everything about one row, for as long as somebody reads it."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from dashboard.details import Detail, detail_lines, title
from dashboard.headline import masthead
from dashboard.keys import ACTION_KEYS, DETAIL_KEYS, hints
from dashboard.lines import Line, Piece
from dashboard.look import Look
from dashboard.picture import Picture
from dashboard.targets import AnyRow
from dashboard.widgets.page import Page, Ribbon
from dashboard.widgets.thrift import ThriftyScreen


class DetailScreen(ThriftyScreen):
    """A page about a row. It is drawn anew whenever there is something newer."""

    BINDINGS: ClassVar[list[BindingType]] = [*DETAIL_KEYS]

    def __init__(self, row: AnyRow, view: str, look: Look, *, acts: bool) -> None:
        super().__init__()
        self.row = row
        self.view = view
        self.look = look
        self._keys = [*DETAIL_KEYS, *(ACTION_KEYS if acts else ())]
        self._detail: Detail | None = None
        self._picture = Picture(None)

    def compose(self) -> ComposeResult:
        """Lay it out: masthead, what it is about, the page, keys."""
        yield Ribbon(self.look, id="masthead")
        yield Ribbon(self.look, id="about")
        yield Page(self.look, id="page")
        yield Ribbon(self.look, id="hints")

    def on_mount(self) -> None:
        """Let the keys scroll."""
        self.query_one("#page", Page).focus()

    def on_resize(self) -> None:
        """Break the lines anew."""
        self._draw()

    def show(self, picture: Picture, detail: Detail) -> None:
        """Take something newer."""
        self._picture, self._detail, self.row = picture, detail, detail.row
        self._draw()

    def _draw(self) -> None:
        if self._detail is None or not self.is_mounted:
            return
        width, look = self.size.width, self.look
        self.query_one("#masthead", Ribbon).show([masthead(self._picture, self.view, width, look)])
        gone = ", no longer listed" if self._detail.gone else ""
        about = Piece(f" {title(self.row, look)}{gone} ", "tab")
        note = Piece(f"  {look.text(self._picture.note)}", "warn")
        self.query_one("#about", Ribbon).show([Line((about, note))])
        self.query_one("#page", Page).show(detail_lines(self._detail, width - 2, look))
        self.query_one("#hints", Ribbon).show([hints(self._keys, width)])
