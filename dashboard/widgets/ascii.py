"""What stands on the screen in ASCII alone: borders and signs that are Textual's, not ours."""

from typing import Final

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from dashboard.lines import cells_of
from dashboard.safe import plain

_SIGNS: Final = {
    **dict.fromkeys("▌▐▎▊│┃", "|"),
    **dict.fromkeys("▔▁▄▀━─", "-"),
    "▶": ">",
    "█": "#",
    "🔎": "/ ",
}


class Ascii(LineFilter):
    """Draws everything in ASCII, as wide as it was. Our own lines are so already."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Transform a line on its way to the terminal."""
        del background
        return [
            one if one.text.isascii() else Segment("".join(map(_plain, one.text)), *one[1:])
            for one in segments
        ]


def _plain(character: str) -> str:
    width = cells_of(character)
    return (_SIGNS.get(character) or plain(character))[:width].ljust(width)
