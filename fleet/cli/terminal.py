"""Foreign text on its way to the user."""

import sys
import unicodedata
from typing import Final

import click

_KEPT: Final = "\n\t"
# Characters that turn the direction of what follows: a text may look other than it is.
_TURNS: Final = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def write(text: str) -> None:
    """Write to stdout at once: untouched into a file or pipe, harmless on a terminal."""
    click.echo(harmless(text) if sys.stdout.isatty() else text, nl=False)


def harmless(text: str) -> str:
    """Take out what a terminal would obey instead of show."""
    return "".join(c for c in text if c in _KEPT or not _is_control(c))


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc" or character in _TURNS
