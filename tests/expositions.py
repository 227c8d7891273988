"""Everything that a fleet can tell Prometheus, made up and written down by the real exporters."""

import time
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from fleet.events import EngineLost, JobTakenOver, NodeHinted
from fleet.job import FleetInfo, Job, ResultLine, Tier
from fleet.metrics.fleet import FleetMetrics
from fleet.metrics.look import Look
from fleet.metrics.manager import ManagerMetrics
from fleet.metrics.node import NodeMetrics
from fleet.metrics.survey import (
    BrokerSeen,
    CostSeen,
    Monitored,
    NodesSeen,
    PoolSeen,
    QueueSeen,
    StreamSeen,
    Survey,
)
from fleet.node import Node

# Of our own histograms; Prometheus gives each a family with these endings.
PARTS = ("_bucket", "_count", "_sum")


def look() -> Look:
    """A consumer at work."""
    return Look(
        node=Node(
            node="spot-1",
            pid=1,
            host="h",
            capacity_type="spot",
            zone="a",
            model="m",
            engine="scripted",
            state="ready",
            started_at=1e9,
            at=1e9 + 1,
            items=3,
            slots=8,
            tokens_generated=70,
            price_usd_per_hour=0.8,
            leaves_at=2e9,
        ),
        instance_type="g6.xlarge",
        connected=True,
        pull_silent_s=0.5,
        engine_silent_s=0.0,
        unsaved_s=2.0,
        busy_s=5.0,
        stall_s=0.25,
        events_dropped=0,
    )


def survey() -> Survey:
    """A look at a fleet that has one of everything."""
    return Survey(
        at=time.monotonic(),
        took_s=0.1,
        queues=tuple(
            QueueSeen(
                tier=tier, model="m", exists=True, waiting=3, delivered=2, stuck=0, deliveries=9,
                pulls=1, paused_s=0.0,
            )
            for tier in Tier
        ),
        streams=(StreamSeen(name="JOBS_BATCH", messages=5, size_bytes=100, limit_bytes=1000),),
        tenants={("batch", "acme"): 5, ("batch", "other"): 1},
        dead={"batch": 1},
        nodes=(
            NodesSeen(
                capacity_type="spot", model="m", zone="a", state="ready", nodes=2, slots=16,
                items=3, usd_per_hour=1.6, unpriced=0,
            ),
        ),
        pools=(
            PoolSeen(
                model="m", decided_at=1e9, spot=3, fallback=1, realtime=2, held_spot=2,
                held_on_demand=2, machines=4, open_batches=1, at_risk=0, batch_fallback=False,
                carries_out=True, troubles=0, budget_usd_per_hour=20.0, priced_at=(("a", 1e9),),
            ),
        ),
        broker=BrokerSeen(
            monitored=Monitored(sync_always=True, stored_bytes=1, limit_bytes=100),
            replicas=3,
            drift=0,
        ),
        cost=CostSeen(
            window_s=86_400.0, usd=(("spot", "m", "useful", 3.5), ("spot", "m", "idle", 0.5)),
            unpriced_hours=0.0, output_tokens=100, saved_usd=4.0,
        ),
        unread=("monitor",),
    )  # fmt: skip


def told() -> Mapping[str, list[dict[str, str]]]:
    """Name every sample that consumers, managers and the exporter tell, with its sets of labels."""
    job = Job(id="j", tenant="acme", model="m", tier=Tier.BATCH, sha256="0" * 64, items=())
    info = FleetInfo(job="j", item=0, items=1, node="n", capacity_type="spot", run_s=1.0)
    node = NodeMetrics(look)
    node.written(job, [ResultLine(id="j-0", custom_id=None, fleet=info)], complete=True)
    node.record(NodeHinted(at=1.0, node="n", source="aws"))
    node.record(EngineLost(at=1.0, node="n", reason="gone", restarts=True))
    node.record(
        JobTakenOver(
            at=1.0, node="n", tenant="acme", job="j", model="m", tier=Tier.BATCH, from_node=None,
            released=True, items_done=0, tokens_saved=4,
        )
    )  # fmt: skip
    fleet, manager = FleetMetrics(), ManagerMetrics(lambda: True)
    fleet.take(survey())
    samples: dict[str, list[dict[str, str]]] = {}
    for part in (node, fleet, manager):
        for family in text_string_to_metric_families(part.page().body.decode()):
            for sample in family.samples:
                samples.setdefault(sample.name, []).append(dict(sample.labels))
    return samples
