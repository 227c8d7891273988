"""What all our widgets share: lines of pieces become strips, and only what changed is sent."""

from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.scroll_view import ScrollView
from textual.strip import Strip

from dashboard.lines import Line, cells_of
from dashboard.look import Look

EMPTY: Final = Line(())


class Painted(ScrollView):
    """Draws the lines that `line` gives. Texts are drawn as they are: no markup, no links."""

    DEFAULT_CSS: ClassVar[str] = """
    Painted { overflow-x: hidden; scrollbar-size-vertical: 1; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "painted--plain", "painted--dim", "painted--ok", "painted--warn", "painted--bad",
        "painted--spot", "painted--on-demand", "painted--strong", "painted--cursor",
        "painted--head", "painted--key", "painted--tab",
    }  # fmt: skip

    def __init__(self, look: Look, *, id: str | None = None) -> None:  # noqa: A002 -- Textual's name
        super().__init__(id=id)
        self.look = look
        self._drawn: dict[int, Line | None] = {}
        self._styles_by_look: dict[tuple[str, bool, bool], Style] = {}
        self.set_class(look.ascii, "ascii")

    def line(self, y: int) -> Line | None:
        """Give the line at `y` of what is seen; None where there is none."""
        raise NotImplementedError

    @property
    def area(self) -> Region:
        """What can be drawn on."""
        return self.scrollable_content_region

    def refresh_changed(self) -> None:
        """Ask for no more than what is not on the screen yet: a slow line says thank you."""
        width = self.area.width
        for y in range(self.area.height):
            line, before = self.line(y), self._drawn.get(y, EMPTY)
            if line != before:
                x, end = _changed(line, before, width)
                self.refresh(Region(x, y, max(1, end - x), 1))

    def repaint(self) -> None:
        """Draw all of it again: the theme or the columns are others."""
        self._styles_by_look.clear()
        self._drawn.clear()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw one line of what is seen."""
        line = self._drawn[y] = self.line(y)
        width = self.area.width
        if line is None:
            return Strip.blank(width, self.rich_style)
        segments = [Segment(text, self._style(tone, line)) for text, tone in line.pieces]
        rest = self._style("head" if line.head else "plain", line)
        return Strip(segments).adjust_cell_length(width, rest)

    def _style(self, tone: str, line: Line) -> Style:
        key = (tone, line.cursor, line.dim)
        if key not in self._styles_by_look:
            quiet = line.dim and tone not in {"bad", "warn"}
            name = "painted--dim" if quiet else f"painted--{tone}"
            style = self.rich_style + self.get_component_rich_style(name)
            if line.cursor:
                style += self.get_component_rich_style("painted--cursor", partial=True)
            self._styles_by_look[key] = style
        return self._styles_by_look[key]

    def notify_style_update(self) -> None:
        """Forget styles that were made of the former ones."""
        super().notify_style_update()
        self._styles_by_look.clear()


def _changed(line: Line | None, before: Line | None, width: int) -> tuple[int, int]:
    """Tell from which cell to which a line differs from what was drawn."""
    if line is None or before is None or line[1:] != before[1:]:
        return 0, width
    old = {start: (piece, end) for start, end, piece in _spans(before)}
    new = {start: (piece, end) for start, end, piece in _spans(line)}
    starts = [start for start in old.keys() | new.keys() if old.get(start) != new.get(start)]
    ends = [side[start][1] for start in starts for side in (old, new) if start in side]
    return min(starts), min(width, max(ends))


def _spans(line: Line) -> list[tuple[int, int, object]]:
    spans: list[tuple[int, int, object]] = []
    at = 0
    for piece in line.pieces:
        end = at + cells_of(piece.text)
        spans.append((at, end, piece))
        at = end
    return spans
