"""A curve in letters: as wide and as high as there is room. Pure."""

from collections.abc import Callable, Sequence
from typing import Final

from dashboard.lines import Line, Piece
from dashboard.look import Look

_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_LABEL: Final = 8


def plot(
    values: Sequence[float | None], *, width: int, height: int, write: Callable[[float], str],
    note: str, look: Look,
) -> list[Line]:  # fmt: skip
    """Draw values from 0 to the largest over the whole width; unknown ones leave a gap.

    note: stands beside it where there are three lines.
    """
    room = max(1, width - _LABEL - 1)
    spread = _spread(values, room)
    top = max((value for value in spread if value is not None), default=0.0)
    lines = []
    for row in range(height):
        label = ""
        if row == 0 and top > 0:
            label = write(top)
        elif row == height - 1:
            label = write(0.0)
        elif row == 1:
            label = note
        base = height - 1 - row
        drawn = "".join(_cell(value, top, base, height, look) for value in spread)
        lines.append(
            Line((Piece(label.rjust(_LABEL) + " ", "dim"), Piece(drawn.rjust(room), "on-demand")))
        )
    return lines


def _spread(values: Sequence[float | None], room: int) -> list[float | None]:
    """Give each column its moment: a window fills the same room, however many moments it has."""
    return [values[column * len(values) // room] for column in range(room)] if values else []


def _cell(value: float | None, top: float, base: int, height: int, look: Look) -> str:
    if value is None:
        return " "
    eighths = round(value / top * height * 8) - base * 8 if top > 0 else 0
    if look.ascii:
        return "#" if eighths >= 4 else "." if base == 0 else " "
    if base == 0:
        eighths = max(1, eighths)
    return _EIGHTHS[max(0, min(8, eighths))]
