"""What the exporter tells of a fleet: the last survey, written down for Prometheus."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, get_args

from prometheus_client import Counter
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from fleet.events import AnyEvent
from fleet.listening import Page
from fleet.metrics.exposition import gauge, gauges, known, page, registry
from fleet.metrics.survey import BrokerSeen, CostSeen, NodesSeen, PoolSeen, QueueSeen, Survey

# A survey that is older is no news, and nothing is told instead.
STALE_S: Final = 60.0
KINDS: Final = frozenset(str(kind.__struct_config__.tag) for kind in get_args(AnyEvent))
_QUEUE: Final = ("tier", "model")
_KIND: Final = ("capacity_type", "model")


class FleetMetrics:
    """Holds the last survey, and counts events. `unready` says why there is nothing to tell.

    connected: whether the broker is reached at this moment.
    """

    def __init__(self, connected: Callable[[], bool] = lambda: True) -> None:
        self._registry = registry()
        self._survey: Survey | None = None
        self._answers = False
        self._connected = connected
        self._events = Counter(
            "fleet_events",
            "What happened in the fleet since the exporter began to listen.",
            ("event",),
            registry=self._registry,
        )
        for kind in KINDS:
            self._events.labels(kind)
        self._registry.register(_Told(self._current, lambda: self._up))

    def take(self, survey: Survey) -> None:
        """Tell this from now on."""
        self._survey, self._answers = survey, True

    def lose(self) -> None:
        """The broker does not answer: what was seen is no news any more."""
        self._answers = False

    @property
    def _up(self) -> bool:
        return self._answers and self._connected()

    def happened(self, kind: str) -> None:
        """Count an event, by its kind as its subject says it."""
        self._events.labels(known(kind, KINDS)).inc()

    def unready(self) -> str | None:
        """Say why a scrape would tell nothing; None where it tells all."""
        if self._survey is None:
            return "nothing has been read yet"
        if not self._up:
            return "the broker is not reached"
        age_s = time.monotonic() - self._survey.at
        return None if age_s <= STALE_S else f"the last look is {age_s:.0f} s old"

    def page(self) -> Page:
        """Write all of it down."""
        return page(self._registry)

    def _current(self) -> Survey | None:
        return self._survey if self.unready() is None else None


class _Told(Collector):
    def __init__(self, survey: Callable[[], Survey | None], up: Callable[[], bool]) -> None:
        self._survey = survey
        self._up = up

    def describe(self) -> list[Metric]:
        """Nothing: what there is to tell is known only when it is read."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Tell the survey, or nothing but that there is none."""
        yield from gauge("fleet_exporter_broker_up", "Whether the broker is reached.", self._up())
        if (survey := self._survey()) is None:
            return
        age_s = time.monotonic() - survey.at
        yield from gauge("fleet_exporter_survey_age_seconds", "How old these numbers are.", age_s)
        yield from gauge("fleet_exporter_survey_seconds", "How long a look takes.", survey.took_s)
        yield from gauges(
            "fleet_exporter_unread",
            "1 for a part of the fleet that could not be read.",
            ("part",),
            {(part,): 1 for part in survey.unread},
        )
        yield from _queues(survey.queues or ())
        yield from _stores(survey)
        yield from _nodes(survey.nodes or ())
        yield from _pools(survey.pools or ())
        if survey.broker:
            yield from _broker(survey.broker)
        if survey.cost:
            yield from _cost(survey.cost)


def _queues(queues: Iterable[QueueSeen]) -> Iterator[Metric]:
    by = {(str(queue.tier), queue.model): queue for queue in queues}

    def each(name: str, text: str, of: Callable[[QueueSeen], float]) -> Iterator[Metric]:
        return gauges(name, text, _QUEUE, {labels: of(queue) for labels, queue in by.items()})

    yield from (
        *each("fleet_queue_waiting_jobs", "Jobs not delivered yet.", lambda q: q.waiting),
        *each("fleet_queue_delivered_jobs", "Jobs that consumers hold.", lambda q: q.delivered),
        *each(
            "fleet_queue_stuck_jobs",
            "Jobs that are stored, and neither wait nor are held: nobody will be given them.",
            lambda q: q.stuck,
        ),
        *each("fleet_queue_pulls", "Requests that wait for jobs.", lambda q: q.pulls),
        *each("fleet_queue_missing", "1 where the durable is missing.", lambda q: not q.exists),
        *each("fleet_queue_paused_seconds", "How long a pause still lasts.", lambda q: q.paused_s),
    )
    deliveries = CounterMetricFamily(
        "fleet_queue_deliveries", "Deliveries, of a job twice as well.", labels=_QUEUE
    )
    for labels, queue in by.items():
        deliveries.add_metric(labels, queue.deliveries)
    yield deliveries


def _stores(survey: Survey) -> Iterator[Metric]:
    streams = survey.streams or ()
    yield from (
        *gauges(
            "fleet_stream_messages",
            "Messages that a stream holds.",
            ("stream",),
            {(stream.name,): stream.messages for stream in streams},
        ),
        *gauges(
            "fleet_stream_bytes",
            "Bytes that a stream holds.",
            ("stream",),
            {(stream.name,): stream.size_bytes for stream in streams},
        ),
        *gauges(
            "fleet_stream_limit_bytes",
            "At which the stream refuses, or drops its oldest.",
            ("stream",),
            {(stream.name,): stream.limit_bytes for stream in streams},
        ),
        *gauges(
            "fleet_dead_letters",
            "Jobs that were given up and lie in DEAD.",
            ("tier",),
            {(tier,): count for tier, count in (survey.dead or {}).items()},
        ),
        *gauges(
            "fleet_tenant_jobs",
            "Unfinished jobs, of tenants that the exporter was told to name; else `other`.",
            ("tier", "tenant"),
            survey.tenants or {},
        ),
    )


def _nodes(nodes: Iterable[NodesSeen]) -> Iterator[Metric]:
    each = list(nodes)
    yield from gauges(
        "fleet_nodes",
        "Nodes whose heart beats.",
        ("capacity_type", "model", "zone", "state"),
        {(one.capacity_type, one.model, one.zone, one.state): one.nodes for one in each},
    )
    sums: dict[tuple[str, ...], dict[str, float]] = {}
    for one in each:
        names = ("nodes", *_SUMS)
        total = sums.setdefault((one.capacity_type, one.model), dict.fromkeys(names, 0.0))
        for name in names:
            total[name] += getattr(one, name)
    # Where no price is known at all, that is not told as nothing.
    free = {key for key, total in sums.items() if total["unpriced"] == total["nodes"]}
    for name, (metric, text) in _SUMS.items():
        hidden = free if name == "usd_per_hour" else ()
        known_sums = {key: total[name] for key, total in sums.items() if key not in hidden}
        yield from gauges(metric, text, _KIND, known_sums)


_SUMS: Final[Mapping[str, tuple[str, str]]] = {
    "slots": ("fleet_slots", "Requests that the engines take at once."),
    "items": ("fleet_items_in_hand", "Requests that run."),
    "usd_per_hour": ("fleet_spend_dollars_per_hour", "What the nodes with a known price cost."),
    "unpriced": ("fleet_unpriced_nodes", "Nodes whose price nobody knows."),
}


def _pools(pools: Iterable[PoolSeen]) -> Iterator[Metric]:
    by = {(pool.model,): pool for pool in pools}

    def each(name: str, text: str, of: Callable[[PoolSeen], float | None]) -> Iterator[Metric]:
        return gauges(name, text, ("model",), {labels: of(pool) for labels, pool in by.items()})

    yield from gauges(
        "fleet_pool_wanted_nodes",
        "Nodes that the manager wants: on spot, on-demand for batches, on-demand for real time.",
        ("model", "kind"),
        {
            (pool.model, kind): getattr(pool, kind)
            for pool in by.values()
            for kind in ("spot", "fallback", "realtime")
        },
    )
    yield from gauges(
        "fleet_pool_held_nodes",
        "Nodes that work, or will.",
        ("model", "kind"),
        {
            (pool.model, kind): held
            for pool in by.values()
            for kind, held in (("spot", pool.held_spot), ("on-demand", pool.held_on_demand))
        },
    )
    yield from gauges(
        "fleet_pool_price_timestamp_seconds",
        "When a zone's spot price was last known to hold.",
        ("model", "zone"),
        {(pool.model, zone): at for pool in by.values() for zone, at in pool.priced_at},
    )
    yield from (
        *each(
            "fleet_pool_decided_timestamp_seconds",
            "When a manager last decided.",
            lambda p: p.decided_at,
        ),
        *each("fleet_pool_machines", "Machines that are paid for.", lambda p: p.machines),
        *each("fleet_pool_open_batches", "Batches with items left.", lambda p: p.open_batches),
        *each(
            "fleet_pool_batches_at_risk", "Batches that will miss their deadline.",
            lambda p: p.at_risk,
        ),
        *each(
            "fleet_pool_batch_fallback", "1 while on-demand nodes take batches.",
            lambda p: p.batch_fallback,
        ),
        *each("fleet_pool_paused", "1 while an operator paused it.", lambda p: not p.carries_out),
        *each(
            "fleet_pool_troubles", "What could not be read or done.", lambda p: p.troubles,
        ),
        *each(
            "fleet_pool_budget_dollars_per_hour", "The limit that an operator set.",
            lambda p: p.budget_usd_per_hour,
        ),
    )  # fmt: skip


def _broker(broker: BrokerSeen) -> Iterator[Metric]:
    if (seen := broker.monitored) is not None:
        yield from (
            *gauge(
                "fleet_broker_sync_always", "Whether confirmed means on disk.", seen.sync_always
            ),
            *gauge("fleet_broker_stored_bytes", "What the server stores.", seen.stored_bytes),
            *gauge("fleet_broker_limit_bytes", "Of which it takes this much.", seen.limit_bytes),
        )
    yield from (
        *gauge("fleet_broker_replicas", "Servers that keep each result.", broker.replicas),
        *gauge("fleet_topology_drift", "Settings that are not as they should be.", broker.drift),
    )


def _cost(cost: CostSeen) -> Iterator[Metric]:
    yield from gauges(
        "fleet_cost_dollars",
        "What the window cost, by what it went for.",
        ("capacity_type", "model", "part"),
        {(capacity, model, part): usd for capacity, model, part, usd in cost.usd},
    )
    yield from (
        *gauge("fleet_cost_window_seconds", "How far back the cost reaches.", cost.window_s),
        *gauge("fleet_cost_unpriced_hours", "Node-hours without a price.", cost.unpriced_hours),
        *gauge("fleet_cost_output_tokens", "Tokens made for it.", cost.output_tokens),
        *gauge("fleet_cost_saved_dollars", "Less than on on-demand alone.", cost.saved_usd),
    )
