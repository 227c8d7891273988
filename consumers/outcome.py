"""How the work on one delivery can end, as values."""

from typing import TypeAlias

import msgspec

from fleet.endings import CANCELLED, EXPIRED
from fleet.job import WireError

__all__ = [
    "CANCELLED",
    "CONDEMNED",
    "EXPIRED",
    "Complete",
    "Ended",
    "Failed",
    "Interrupted",
    "Lost",
    "Outcome",
]


class Complete(msgspec.Struct, frozen=True):
    """Every item has its line."""


class Interrupted(msgspec.Struct, frozen=True):
    """This node or its engine is gone, or about to go: save and hand over."""


class Ended(msgspec.Struct, frozen=True):
    """The rest of the job is not to be worked on: its open items get this error."""

    error: WireError


class Failed(msgspec.Struct, frozen=True):
    """Every item that is left failed, in a way that may pass: try again later."""

    error: WireError


class Lost(msgspec.Struct, frozen=True):
    """Another consumer owns the job: say nothing more."""

    reason: str


Outcome: TypeAlias = Complete | Interrupted | Ended | Failed | Lost
CONDEMNED = WireError(
    code="crashed_consumers",
    message="consumers died again and again while they ran this item and nothing else: it may be "
    "what kills them; send it again only if their logs name another cause",
)
