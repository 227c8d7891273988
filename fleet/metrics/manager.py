"""What a pool manager counts of itself; how its pool stands is the exporter's to tell."""

import time
from collections.abc import Callable, Iterator
from typing import Final, get_args

from prometheus_client import Counter
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from fleet.events import AnyEvent, PoolActed, PoolAction, PoolDecided
from fleet.listening import Page
from fleet.metrics.exposition import counter, gauge, page, registry

# One look at a provider that hardly answers; the watchdog of its unit waits for as long.
SILENT_S: Final = 600.0


class ManagerMetrics:
    """Counts one manager's looks, decisions and acts. connected: whether the broker is reached."""

    def __init__(self, connected: Callable[[], bool]) -> None:
        self._registry = registry()
        self._looked_at = time.monotonic()
        self._looks = 0
        self._connected = connected
        self._decisions = Counter(
            "fleet_manager_decisions",
            "Decisions that differed from the one before.",
            registry=self._registry,
        )
        self._acts = Counter(
            "fleet_manager_acts",
            "What it did to machines, or could not.",
            ("action", "capacity_type"),
            registry=self._registry,
        )
        for action in get_args(PoolAction):
            for capacity_type in ("on-demand", "spot"):
                self._acts.labels(action, capacity_type)
        self._registry.register(_Life(self))

    def record(self, event: AnyEvent) -> None:
        """Sink: count an event."""
        match event:
            case PoolDecided():
                self._decisions.inc()
            case PoolActed():
                machines = max(1, len(event.machines))
                self._acts.labels(event.action, event.capacity_type or "-").inc(machines)
            case _:
                pass

    def looked(self) -> None:
        """A look is over."""
        self._looks += 1
        self._looked_at = time.monotonic()

    @property
    def silent_s(self) -> float:
        """How long ago the last look ended."""
        return time.monotonic() - self._looked_at

    def ill(self) -> str | None:
        """Say why it should be ended; None if it should not."""
        if self.silent_s <= SILENT_S:
            return None
        return f"the manager has not looked at its pool for {self.silent_s:.0f} s"

    def unready(self) -> str | None:
        """Say why it does nothing; None if it works, be it as the one who stands by."""
        return self.ill() or (None if self._connected() else "the broker is not reached")

    def page(self) -> Page:
        """Write all of it down."""
        return page(self._registry)

    def state(self) -> Iterator[Metric]:
        """Tell what is true now."""
        yield from (
            *counter("fleet_manager_looks", "Looks at the pool.", self._looks),
            *gauge("fleet_manager_look_age_seconds", "Since the last look ended.", self.silent_s),
            *gauge(
                "fleet_manager_broker_connected",
                "Whether the broker is reached.",
                self._connected(),
            ),
        )


class _Life(Collector):
    def __init__(self, metrics: ManagerMetrics) -> None:
        self._metrics = metrics

    def describe(self) -> list[Metric]:
        """Nothing: names come with the values."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Tell what is true now."""
        return self._metrics.state()
