"""How often an engine may die before the process is given up."""

from collections import deque

MOST = 3
WITHIN_S = 600.0


class Restarts:
    """Allows MOST restarts in any WITHIN_S seconds.

    More of them are no accident: another process, or another node, has to take over.
    """

    def __init__(self) -> None:
        self._at: deque[float] = deque(maxlen=MOST)

    def allowed(self, now: float) -> bool:
        """Say whether one more is allowed at `now`, by time.monotonic(), and count it if so."""
        if len(self._at) == MOST and now - self._at[0] < WITHIN_S:
            return False
        self._at.append(now)
        return True
