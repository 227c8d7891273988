"""What happened in one run of the campaign, in the order in which it was learnt."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Literal, Self, TypeAlias

import msgspec

Op: TypeAlias = Literal[
    # What producers did; outcome: stored, unknown (nobody answered), full, refused.
    "publish",
    # What was done to a node or the broker; outcome: what came of it.
    "kill", "notice", "drain", "freeze", "thaw", "block", "fail", "network", "clock", "outage",
    # What the broker stores in the end: lines, take-overs, releases, dead letters.
    "line", "taken_over", "released", "lost", "dead",
    # Sums, as numbers in `outcome`.
    "tokens_generated", "tokens_delivered", "left_behind", "deaf", "still_queued", "unproven",
]  # fmt: skip


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry. t: seconds since the epoch. attempt: for a line, consumers that it outlived + 1.

    outcome of a line: right, wrong, or error:<code>; of a take-over: from whom, empty for nobody.
    """

    t: float
    actor: str
    op: Op
    job: str = ""
    item: int | None = None
    attempt: int = 0
    outcome: str = ""


class History:
    """An append-only file of entries; what is written stays, whatever becomes of the test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self._file: IO[bytes] = path.open("ab")

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._file.write(msgspec.json.encode(entry) + b"\n")
        self._file.flush()

    def of(self, *ops: Op) -> list[Entry]:
        return [entry for entry in self.entries if entry.op in ops]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def read(path: Path) -> Sequence[Entry]:
    """Read a history again, as a checker of tomorrow would."""
    return [msgspec.json.decode(line, type=Entry) for line in path.read_bytes().splitlines()]
