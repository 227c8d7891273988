"""Lines of text that are longer than the screen: the help, what is known about a row, figures."""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.geometry import Size

from dashboard.keys import PAGE_KEYS
from dashboard.lines import Line
from dashboard.look import Look
from dashboard.widgets.painted import Painted


class Page(Painted, can_focus=True):
    """A text to scroll through."""

    BINDINGS: ClassVar[list[BindingType]] = [*PAGE_KEYS]

    def __init__(self, look: Look, *, id: str | None = None) -> None:  # noqa: A002 -- Textual's name
        super().__init__(look, id=id)
        self._lines: Sequence[Line] = ()

    def show(self, lines: Sequence[Line]) -> None:
        """Take other lines in the place of all before."""
        self._lines = lines
        size = Size(0, len(lines))
        if size != self.virtual_size:
            self.virtual_size = size
        self.refresh_changed()

    def line(self, y: int) -> Line | None:
        """Give the line at `y` of what is seen."""
        at = y + self.scroll_offset.y
        return self._lines[at] if at < len(self._lines) else None


class Ribbon(Page, can_focus=False):
    """One line, or a few, that never scroll."""
