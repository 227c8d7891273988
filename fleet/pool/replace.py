"""Who takes the place of a consumer that ended, and how soon. Pure."""

from typing import Final, Literal, TypeAlias

# died: whoever ended otherwise than by a drain. all: also whoever was drained, as a market does.
Replace: TypeAlias = Literal["nobody", "died", "all"]
# Between the starts of two that follow each other.
GAP_S: Final = 1.0
# A consumer that fails within this time is likely to fail again for the same reason.
SHORT_S: Final = 60.0
LONGEST_S: Final = 30.0


class Life:
    """One consumer's place in a row of successors.

    failures: how many of those right before it failed soon after their start.
    """

    def __init__(self, failures: int = 0) -> None:
        self._failures = failures

    def succeeded(self, replace: Replace, code: int, lived_s: float) -> "tuple[Life, float] | None":
        """Say who comes next and after how many seconds, or None for nobody.

        code: of the process that ended, negative for a signal. A signal is a fault of the node and
        not of the consumer, so its successor need not wait.
        """
        if replace == "nobody" or (replace == "died" and code == 0):
            return None
        gap_s = max(0.0, GAP_S - lived_s)
        if code <= 0 or lived_s > SHORT_S:
            return Life(), gap_s
        return Life(self._failures + 1), max(gap_s, min(LONGEST_S, GAP_S * 2**self._failures))
