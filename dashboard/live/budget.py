"""How often a part is read: as often as is wanted, and as seldom as its size asks for."""

from typing import Final

# What one part may bring over the line on average. A screen shows a few kilobytes of it.
BYTES_PER_S: Final = 128 * 1024
# What a stored message brings beside its payload: subject, place, time, headers.
OVERHEAD_BYTES: Final = 200
# However large a part is, it is looked at again after this.
SLOWEST_S: Final = 60.0


class Budget:
    """Counts what a look brought. looks, bytes: in all, for whoever wants to know the cost."""

    def __init__(self) -> None:
        self._fresh = 0
        self.looks = 0
        self.bytes = 0

    def took(self, payload: bytes | str = b"", *, messages: int = 1) -> None:
        """Count messages of this payload together."""
        size = len(payload) + OVERHEAD_BYTES * messages
        self._fresh += size
        self.bytes += size

    def pause_s(self, wanted_s: float) -> float:
        """Say how long to wait after a look that is over."""
        size, self._fresh = self._fresh, 0
        self.looks += 1
        return max(wanted_s, min(SLOWEST_S, size / BYTES_PER_S))
