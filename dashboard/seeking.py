"""The filter behind `/`: a regular expression, or `!` and what shall not be seen. Pure."""

import re
from typing import NamedTuple

from fleet.errors import UsageError

# Someone leaves the screen open: a longer expression is a slip of the clipboard.
MOST_CHARACTERS = 200


class Filter(NamedTuple):
    """What rows have to match. An empty expression lets all of them through."""

    text: str = ""
    pattern: re.Pattern[str] | None = None
    inverse: bool = False

    def lets(self, words: str) -> bool:
        """Tell whether a row with these words is shown."""
        if self.pattern is None:
            return True
        return (self.pattern.search(words) is not None) is not self.inverse


def read(text: str) -> Filter:
    """Read what was typed; case does not matter unless a capital is in it.

    Raises UsageError when it is no regular expression.
    """
    typed = text.strip()
    inverse = typed.startswith("!")
    expression = typed[1:].strip() if inverse else typed
    if not expression:
        return Filter()
    if len(expression) > MOST_CHARACTERS:
        raise UsageError(f"a filter has at most {MOST_CHARACTERS} characters")
    flags = re.NOFLAG if any(c.isupper() for c in expression) else re.IGNORECASE
    try:
        return Filter(typed, re.compile(expression, flags), inverse)
    except re.error as error:
        raise UsageError(f"no regular expression: {error.msg}") from error
