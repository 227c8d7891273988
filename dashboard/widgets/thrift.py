"""A screen that sends what changed and nothing beside it, for slow lines.

Textual, when a part of a line has changed, sends the line from its beginning to the end of that
part. Of a wide table that is most of it, every second.
"""

from rich.console import Console
from rich.control import Control
from textual._compositor import ChopsUpdate, Compositor
from textual.driver import Driver
from textual.screen import Screen


def is_behind(driver: Driver | None) -> bool:
    """Tell whether a terminal has yet to take what was sent before.

    Textual's queue to it is short, and whoever writes to a full one waits, with all else.
    """
    writer = getattr(driver, "_writer_thread", None)
    return writer is not None and not writer._queue.empty()  # noqa: SLF001 -- there is no other door


class ThriftyScreen(Screen[None]):
    """Composes as Textual does, and sends less."""

    def __init__(self) -> None:
        super().__init__()
        self._compositor = _Compositor()


class _Compositor(Compositor):
    def render_partial_update(self) -> ChopsUpdate | None:
        """Render what is dirty."""
        update = super().render_partial_update()
        return update and _Update(update.chops, update.spans, update.chop_ends)


class _Update(ChopsUpdate):
    def render_segments(self, console: Console) -> str:
        """Write each span at its place."""
        parts: list[str] = []
        for y, first, end in self.spans:
            for stop, (start, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=True):
                # None: of a line that is not drawn, or of a widget that is not there yet.
                if strip is None or start >= end or stop <= first:
                    continue
                left = max(start, first)
                parts.append(Control.move_to(left, y).segment.text)
                parts.append(strip.crop(left - start, min(stop, end) - start).render(console))
        return "".join(parts)
