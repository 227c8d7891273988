"""What Prometheus may ask of a consumer; nothing is counted where nobody may ask."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from fleet.events import AnyEvent
from fleet.job import Job, ResultLine
from fleet.listening import Page
from fleet.metrics.look import Look

if TYPE_CHECKING:
    from fleet.metrics.node import NodeMetrics

PATH: Final = "/metrics"
KV_CACHE: Final = "vllm:kv_cache_usage_perc"


class Watched:
    """Hears what happens, and counts it once `pages` was called."""

    def __init__(self) -> None:
        self._metrics: NodeMetrics | None = None

    def pages(self, look: Callable[[], Look]) -> Mapping[str, Callable[[], Page]]:
        """Begin to count, and return what to serve. look: says how things stand, in any thread."""
        # Its library takes longer to load than all else that a consumer needs to start.
        from fleet.metrics.node import NodeMetrics

        self._metrics = NodeMetrics(look)
        return {PATH: self._metrics.page}

    def kv_cache(self) -> float | None:
        """Say which share of its memory for tokens the engine uses, 0 to 1; None if it counts not.

        It is asked of vLLM's own figures, which are there where somebody may ask for them.
        """
        if self._metrics is None:
            return None
        from fleet.metrics.exposition import measured

        return measured(KV_CACHE)

    def hear(self, event: AnyEvent) -> None:
        """Sink: count an event."""
        if self._metrics:
            self._metrics.record(event)

    def written(self, job: Job, lines: Sequence[ResultLine], *, complete: bool) -> None:
        """Count lines that are safe."""
        if self._metrics:
            self._metrics.written(job, lines, complete=complete)
