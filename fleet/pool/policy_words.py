"""Words that several parts of the policy say."""

from collections.abc import Sequence
from typing import Final

MOST_NAMES: Final = 5


def some(names: Sequence[str]) -> str:
    """List the first few names, and say how many more there are."""
    shown = ", ".join(names[:MOST_NAMES])
    more = len(names) - MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def nodes(number: int, kind: str = "") -> str:
    """Say how many nodes."""
    return f"{number} {kind + ' ' if kind else ''}node{'' if number == 1 else 's'}"
