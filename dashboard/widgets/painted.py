"""What all our widgets share: lines of pieces become strips, and only what changed is sent."""

from abc import abstractmethod
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.scroll_view import ScrollView
from textual.strip import Strip

from dashboard.lines import Line, changed
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
        # Lines that were made to be compared, at which place of scrolling: they are drawn next.
        self._made: dict[int, Line | None] = {}
        self._made_at = 0
        self._styles_by_look: dict[tuple[str, bool, bool], Style] = {}
        self.set_class(look.ascii, "ascii")

    @abstractmethod
    def line(self, y: int) -> Line | None:
        """Give the line at `y` of what is seen; None where there is none."""

    @property
    def area(self) -> Region:
        """What can be drawn on."""
        return self.scrollable_content_region

    def refresh_changed(self) -> None:
        """Ask for no more than what is not on the screen yet: a slow line says thank you."""
        width, regions = self.area.width, []
        self._made, self._made_at = {}, self.scroll_offset.y
        for y in range(self.area.height):
            line, before = self.line(y), self._drawn.get(y, EMPTY)
            if line != before:
                self._made[y] = line
                regions += [Region(x, y, end - x, 1) for x, end in changed(line, before, width)]
        if regions:
            self.refresh(*regions)

    def repaint(self) -> None:
        """Draw all of it again: the theme or the columns are others."""
        self._styles_by_look.clear()
        self._drawn.clear()
        self._made.clear()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw one line of what is seen."""
        is_made = y in self._made and self._made_at == self.scroll_offset.y
        line = self._drawn[y] = self._made.pop(y) if is_made else self.line(y)
        width = self.area.width
        if line is None:
            return Strip.blank(width, self.rich_style)
        segments = [Segment(text, self._style(tone, line)) for text, tone in line.pieces]
        rest = self._style("head" if line.head else "plain", line)
        # Neighbours that look alike are sent as one, with one escape before them.
        return Strip(segments).adjust_cell_length(width, rest).simplify()

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
