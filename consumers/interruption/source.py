"""What a cloud's adapter is, and how often it asks."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

import msgspec

from consumers.interruption.answers import Answer, Reading
from fleet.errors import FleetError

# Called with what an answer means, and the path that gave it.
Tell: TypeAlias = Callable[[Reading, str], None]
Look: TypeAlias = Callable[[Tell], Awaitable[None]]


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How often is asked and how long is waited, in seconds.

    poll_s: between two looks. answer_s: for an ordinary answer. hold_s: how long GCP holds a
    request until something changes. first_s: for Azure's first answer, which may take two minutes.
    retry_s: the first pause after a failure; it doubles up to silent_s where nobody answers, up to
    busy_s where the service is overloaded.
    """

    poll_s: float = 2.0
    answer_s: float = 2.0
    hold_s: float = 60.0
    first_s: float = 130.0
    retry_s: float = 1.0
    silent_s: float = 60.0
    busy_s: float = 30.0


class Unreachable(FleetError):
    """Nobody answers: there is no such service, or it is not for us (hop limit)."""


class Busy(FleetError):
    """The service answers that it cannot answer now."""


class Http(Protocol):
    """Asks, at most `wait_s` seconds long. Raises Unreachable and Busy."""

    async def get(self, url: str, headers: Mapping[str, str], *, wait_s: float) -> Answer:
        """Ask for `url`."""

    async def put(self, url: str, headers: Mapping[str, str], *, wait_s: float) -> Answer:
        """Put nothing to `url`."""


class Source(Protocol):
    """A cloud. Its methods raise Unreachable and Busy."""

    name: str

    async def recognise(self) -> bool:
        """Say whether this cloud is the one that we run on."""

    def looks(self) -> Sequence[Look]:
        """Return what is to be done again and again, each at its own pace."""
