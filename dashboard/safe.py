"""Foreign text on its way to the screen. Pure.

Job ids, tenants, nodes and error texts are written by whoever may publish. None of it may steer the
terminal, turn the writing direction, break the layout or be read as markup. Widgets draw what comes
from here as plain text and never parse it.
"""

import unicodedata
from functools import lru_cache
from typing import Final

MOST_CHARACTERS: Final = 256
REPLACEMENT: Final = "\ufffd"
# Marks on one letter. Scripts need one or two; a heap of them paints over its neighbours.
_MOST_MARKS: Final = 2


def safe(text: str, *, most: int = MOST_CHARACTERS) -> str:
    """Give `text` as one line that a terminal shows and does not obey.

    Controls, escapes, overrides of direction, invisible and unassigned characters and line ends
    become U+FFFD. most: characters kept, at least 1; what is longer ends in an ellipsis.
    """
    cut = text if len(text) <= most else text[: most - 1] + "…"
    if cut.isascii() and cut.isprintable():
        return cut
    return _cleaned(cut)


def plain(text: str) -> str:
    """Give a safe text in ASCII alone, for terminals that have nothing else."""
    if text.isascii():
        return text
    known = unicodedata.normalize("NFKD", text.replace("…", "~").replace("·", "-"))
    bare = "".join(c for c in known if unicodedata.category(c)[0] != "M")
    return bare.encode("ascii", "replace").decode()


@lru_cache(maxsize=4096)
def _cleaned(text: str) -> str:
    kept: list[str] = []
    marks = 0
    for character in unicodedata.normalize("NFC", text):
        category = unicodedata.category(character)
        marks = marks + 1 if category[0] == "M" else 0
        if marks == 0:
            kept.append(REPLACEMENT if _is_unsafe(character, category) else character)
        elif kept and marks <= _MOST_MARKS and not _is_selector(character):
            kept.append(character)
    return "".join(kept)


def _is_unsafe(character: str, category: str) -> bool:
    """C*: controls, formats, surrogates, private and unassigned; Z*: separators but the space."""
    return category[0] == "C" or (category[0] == "Z" and character != " ")


def _is_selector(character: str) -> bool:
    """Tell whether it asks for another picture, whose width terminals do not agree on."""
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
