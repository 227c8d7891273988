"""How the work on one delivery can end, as values."""

from typing import TypeAlias

import msgspec

from fleet.endings import CANCELLED, EXPIRED
from fleet.job import WireError

__all__ = [
    "CANCELLED",
    "EXPIRED",
    "SUSPECTED",
    "Complete",
    "Ended",
    "Interrupted",
    "Lost",
    "Outcome",
]


class Complete(msgspec.Struct, frozen=True):
    """Every item has its line."""


class Interrupted(msgspec.Struct, frozen=True):
    """This node is about to vanish: save and hand over."""


class Ended(msgspec.Struct, frozen=True):
    """The rest of the job is not to be worked on: its open items get this error."""

    error: WireError


class Lost(msgspec.Struct, frozen=True):
    """Another consumer owns the job: say nothing more."""

    reason: str


Outcome: TypeAlias = Complete | Interrupted | Ended | Lost
SUSPECTED = WireError(
    code="crashed_consumers",
    message="consumers that held this job died several times in a row without progress: the job "
    "may be what kills them; send its items one by one to find the one that does",
)
