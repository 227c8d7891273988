"""How the lines of a terminal are shared out. Pure."""

from typing import Final, NamedTuple


class Room(NamedTuple):
    """What fits into a height: lines of alarms, lines of the plot, and a line of trends."""

    alarms: int
    plot: int
    trends: bool


# From so many lines on.
_ROOMS: Final = (
    (50, Room(6, 10, trends=True)),
    (30, Room(4, 6, trends=True)),
    (20, Room(4, 3, trends=False)),
    (0, Room(1, 1, trends=False)),
)
# So many pictures in a row that need fewer lines give the lines back.
PATIENCE: Final = 10


def room_of(height: int) -> Room:
    """Share out a terminal of `height` lines."""
    return next(room for least, room in _ROOMS if height >= least)


class Calm:
    """A height that grows at once and shrinks late: each change paints the whole screen anew."""

    def __init__(self) -> None:
        self._height = 1
        self._lower_for = 0

    def height(self, wanted: int) -> int:
        """Give the height for so many lines."""
        self._lower_for = self._lower_for + 1 if wanted < self._height else 0
        if wanted > self._height or self._lower_for > PATIENCE:
            self._height, self._lower_for = wanted, 0
        return self._height
