"""What one consumer counts: a sink of its events, and of the lines that it has made safe."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, get_args

from prometheus_client import Counter, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from fleet.events import (
    AnyEvent,
    EngineLost,
    JobDead,
    JobLost,
    JobReleased,
    JobRetried,
    JobTakenOver,
    NodeDraining,
    NodeHinted,
    NodeReady,
)
from fleet.job import Job, ResultLine, Tier
from fleet.listening import Page
from fleet.metrics.exposition import counter, gauge, gauges, known, page, registry
from fleet.metrics.look import Look
from fleet.node import NodeState
from fleet.notice import NoticeSource

STATES: Final[tuple[NodeState, ...]] = get_args(NodeState)
SOURCES: Final = frozenset(get_args(NoticeSource))
# From a slot that is free to a night's batch.
WAITS_S: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200, 43_200)
RUNS_S: Final = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 60, 120, 300, 600)
ENDINGS: Final = frozenset({"expired", "cancelled"})


class NodeMetrics:
    """Counts from the moment it is made. look: asked at each scrape, in another thread."""

    def __init__(self, look: Callable[[], Look]) -> None:
        self._registry = registry()
        self._jobs = self._counter(
            "fleet_jobs", "Jobs, by how they left this consumer.", "tier", "outcome"
        )
        self._items = self._counter(
            "fleet_items", "Requests whose result is stored, by how they ended.", "tier", "outcome"
        )
        self._tokens = self._counter(
            "fleet_tokens", "Tokens of requests whose result is stored.", "tier", "kind"
        )
        self._redeliveries = self._counter(
            "fleet_redeliveries",
            "Jobs taken over from another consumer, which gave them back or was lost.",
            "tier",
            "cause",
        )
        self._resumed = self._counter(
            "fleet_resumed_tokens", "Saved tokens with which taken-over jobs went on.", "tier"
        )
        self._retries = self._counter("fleet_retries", "Attempts that failed by the job's fault.")
        self._dead = self._counter("fleet_dead_jobs", "Jobs that this consumer gave up.")
        self._lost = self._counter(
            "fleet_lost_jobs", "Jobs that turned out to be another consumer's, or were not stored."
        )
        self._notices = self._counter(
            "fleet_spot_notices", "Notices that this node is to go, by who gave them.", "source"
        )
        self._losses = self._counter("fleet_engine_losses", "Engines that died or hung.")
        self._load_s = 0.0
        self._wait = self._histogram(
            "fleet_item_queue_wait_seconds", "From being published to being taken up.", WAITS_S
        )
        self._run = self._histogram(
            "fleet_item_run_seconds", "In this consumer, from being taken up to the end.", RUNS_S
        )
        self._registry.register(_Sight(look, lambda: self._load_s))
        for tier in Tier:
            for outcome in ("ok", "failed", *sorted(ENDINGS)):
                self._items.labels(tier, outcome)
            for outcome in ("settled", "released"):
                self._jobs.labels(tier, outcome)
            for kind in ("prompt", "completion"):
                self._tokens.labels(tier, kind)
            for cause in ("released", "lost"):
                self._redeliveries.labels(tier, cause)

    def record(self, event: AnyEvent) -> None:
        """Sink: count an event."""
        match event:
            case NodeReady():
                self._load_s = event.load_s
            case NodeDraining():
                cause = "signal" if event.cause.startswith("SIG") else event.cause
                self._notices.labels(known(cause, SOURCES)).inc()
            case NodeHinted():
                self._notices.labels(known(event.source, SOURCES)).inc()
            case EngineLost():
                self._losses.inc()
            case JobTakenOver():
                cause = "released" if event.released else "lost"
                self._redeliveries.labels(event.tier, cause).inc()
                self._resumed.labels(event.tier).inc(event.tokens_saved)
            case JobReleased():
                self._jobs.labels(event.tier, "released").inc()
            case JobLost():
                self._lost.inc()
            case JobRetried():
                self._retries.inc()
            case JobDead():
                self._dead.inc()
            case _:
                pass

    def written(self, job: Job, lines: Sequence[ResultLine], *, complete: bool) -> None:
        """Count lines that are safe in the result log."""
        if complete:
            self._jobs.labels(job.tier, "settled").inc()
        for line in lines:
            code = None if line.error is None else line.error.code
            outcome = "ok" if code is None else code if code in ENDINGS else "failed"
            self._items.labels(job.tier, outcome).inc()
            usage = line.usage or {}
            self._tokens.labels(job.tier, "prompt").inc(usage.get("prompt_tokens", 0))
            self._tokens.labels(job.tier, "completion").inc(usage.get("completion_tokens", 0))
            # One that ended before it ran waited for no slot of ours.
            if code is None or line.fleet.run_s:
                self._wait.labels(job.tier).observe(line.fleet.queue_s)
                self._run.labels(job.tier).observe(line.fleet.run_s)

    def page(self) -> Page:
        """Write all of it down."""
        return page(self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, text, ("tier",), buckets=buckets, registry=self._registry)


class _Sight(Collector):
    """What is true now, read when it is asked for."""

    def __init__(self, look: Callable[[], Look], load_s: Callable[[], float]) -> None:
        self._look = look
        self._load_s = load_s

    def describe(self) -> list[Metric]:
        """Nothing: asking for names must not look at a consumer that is still being built."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Look once."""
        look = self._look()
        node = look.node
        labels = {
            "node": node.node,
            "capacity_type": node.capacity_type,
            "zone": node.zone,
            "model": node.model,
            "engine": node.engine,
            "instance_type": look.instance_type,
        }
        yield from gauges(
            "fleet_node_info", "Who this consumer is.", labels, {tuple(labels.values()): 1}
        )
        yield from gauges(
            "fleet_node_state",
            "1 for the state that it is in.",
            ("state",),
            {(state,): float(state == node.state) for state in STATES},
        )
        price = node.price_usd_per_hour
        yield from (
            *gauge("fleet_node_jobs", "Jobs in hand.", node.jobs),
            *gauge("fleet_node_items", "Requests in hand.", node.items),
            *gauge("fleet_node_slots", "Requests that its engine takes at once.", node.slots),
            *gauge("fleet_node_price_dollars_per_hour", "What this node costs.", price),
            *gauge(
                "fleet_node_start_time_seconds", "When it started, in epoch time.", node.started_at
            ),
            *gauge("fleet_node_leaves_time_seconds", "When it will vanish.", node.leaves_at),
            *gauge("fleet_node_broker_connected", "Whether the broker is reached.", look.connected),
            *gauge(
                "fleet_node_pull_silent_seconds",
                "Since it asked for jobs without hearing anything; 0 where it hears.",
                look.pull_silent_s,
            ),
            *gauge(
                "fleet_node_engine_silent_seconds",
                "Since the engine showed life.",
                look.engine_silent_s,
            ),
            *gauge(
                "fleet_checkpoint_age_seconds",
                "Since work in hand was last saved; 0 without any.",
                look.unsaved_s,
            ),
            *gauge(
                "fleet_engine_load_seconds", "How long the engine took to come up.", self._load_s()
            ),
            *counter(
                "fleet_generated_tokens",
                "Tokens that the engine made, those that others finish included.",
                node.tokens_generated,
            ),
            *counter("fleet_busy_seconds", "In which any request ran.", look.busy_s),
            *counter(
                "fleet_stall_seconds",
                "In which none ran while something was being written.",
                look.stall_s,
            ),
            *counter("fleet_events_dropped", "Events that were not stored.", look.events_dropped),
        )
