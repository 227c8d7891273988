"""What a fleet on this machine is to be, and what may become of its consumers."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from fleet.pool.knobs import Knobs
from fleet.pool.local import LocalNode
from fleet.pool.replace import Replace


class FleetPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What `fleet up` was asked for.

    nats: URL of a broker that is there already, None for one of our own. store: folder for the
    broker's files and the logs, None for a temporary one. port: of our own broker, 0 for a free
    one. replace: for whom of those that end another consumer is started. allow_drills: mark the
    fleet as one that may be drilled, for as long as it is up. managed: how a pool manager is to run
    it: on_demand is its baseline then, spot the most that it may have.
    """

    model: str
    engine: str
    on_demand: int = 1
    spot: int = 2
    zones: tuple[str, ...] = ("a",)
    nats: str | None = None
    store: Path | None = None
    port: int = 0
    replace: Replace = "nobody"
    arguments: tuple[str, ...] = ()
    prices_usd_per_hour: dict[str, float] = {}
    allow_drills: bool = False
    managed: Knobs | None = None
    ready_s: float = 300.0


class Ended(msgspec.Struct, frozen=True):
    """A consumer's process ended. code: its exit code, negative for a signal.

    replaced_in_s: after how long another one takes its place, None if none does. last_words: the
    last line of its log.
    """

    node: LocalNode
    code: int
    replaced_in_s: float | None
    last_words: str

    @property
    def failed(self) -> bool:
        """Whether it ended by a fault of its own, and not by a signal or a drain."""
        return self.code > 0


class Replaced(msgspec.Struct, frozen=True):
    """Another consumer took the place of one that ended; it loads its engine now."""

    node: LocalNode
    by: LocalNode


class Started(msgspec.Struct, frozen=True):
    """The manager had a consumer started; it loads its engine now."""

    node: LocalNode


OnChange = Callable[[Ended | Replaced | Started], None]
OnReady = Callable[[int, int], None]
