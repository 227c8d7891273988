"""Reads procedures out of docs/operations.md, so that what is tried is what is written there."""

import re
from pathlib import Path
from typing import Final, NamedTuple

PAGE: Final = Path(__file__).parents[2] / "docs" / "operations.md"
# A block of shell, and the comment right before it that says how it was tried.
_BLOCK: Final = re.compile(r"(?:<!-- (?P<mark>[^>]*) -->\n)?```sh\n(?P<code>.*?)```", re.DOTALL)
_HEADING: Final = re.compile(r"^(#{2,3}) (.+)$", re.MULTILINE)


class Step(NamedTuple):
    """One block of shell. mark: how it was tried, "" where nothing says it."""

    section: str
    mark: str
    code: str


def steps(text: str) -> list[Step]:
    """Return all blocks in the order of the page."""
    headings = [(found.start(), found[2]) for found in _HEADING.finditer(text)]
    return [
        Step(
            section=next((name for at, name in reversed(headings) if at < block.start()), ""),
            mark=block["mark"] or "",
            code=block["code"],
        )
        for block in _BLOCK.finditer(text)
    ]


def script(section: str, mark: str) -> str:
    """Join the blocks of one section with this mark. Raises LookupError where there are none."""
    found = [one.code for one in steps(PAGE.read_text()) if one[:2] == (section, mark)]
    if not found:
        raise LookupError(f"{PAGE.name} has no block under {section!r} that is marked {mark!r}")
    return "".join(found)


def headings(text: str) -> list[str]:
    """Return the headings of a page."""
    return [found[2] for found in _HEADING.finditer(text)]
