"""How the screen draws: with Unicode's blocks and circles, or in ASCII alone. Pure."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from dashboard.safe import plain, safe

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_LETTERS: Final = "_.:-=+*#"
_GLYPHS: Final = {
    "ready": ("●", "*"),
    "loading": ("◌", "."),
    "draining": ("◐", "!"),
    "drained": ("○", "o"),
    "lost": ("✗", "x"),
    "leaving": ("▼", "v"),
    "stuck": ("■", "#"),
    "bullet": ("·", "-"),
    "up": ("▲", "^"),
    "down": ("▼", "v"),
    "full": ("█", "#"),
    "free": ("░", "."),
    "rule": ("─", "-"),
    "alarm": ("▲", "!"),
    "live": ("●", "*"),
    "paused": ("‖", "="),
}


class Look(NamedTuple):
    """What the terminal can show. ascii: nothing beyond it."""

    ascii: bool = False

    def glyph(self, name: str) -> str:
        """Give the sign for a state; a bullet where there is none."""
        pair = _GLYPHS.get(name, _GLYPHS["bullet"])
        return pair[self.ascii]

    def text(self, foreign: str) -> str:
        """Give a foreign text as it may be shown."""
        return self.drawn(safe(foreign))

    def drawn(self, own: str) -> str:
        """Give a safe text in the characters that there are."""
        return plain(own) if self.ascii else own

    def bar(self, share: float | None, width: int) -> str:
        """Draw a share of 0 to 1 as a bar of `width` cells."""
        filled = round(min(1.0, max(0.0, share or 0.0)) * width)
        return self.glyph("full") * filled + self.glyph("free") * (width - filled)

    def spark(self, values: Sequence[float | None], width: int) -> str:
        """Draw the newest `width` values, the largest as a full block, unknown ones as blanks."""
        steps = _LETTERS if self.ascii else _BLOCKS
        shown = list(values)[-width:]
        top = max((value for value in shown if value is not None), default=0.0)
        drawn = "".join(" " if v is None else steps[_step(v, top, len(steps))] for v in shown)
        return drawn.rjust(width)


def _step(value: float, top: float, steps: int) -> int:
    return 0 if top <= 0 or value <= 0 else min(steps - 1, int(value / top * (steps - 1) + 0.5))
