"""What a consumer counts, and what never becomes a label."""

import time

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from consumers.meter import Totals
from fleet.events import EngineLost, JobReleased, JobTakenOver, NodeDraining, NodeHinted
from fleet.job import FleetInfo, Job, ResultLine, Tier, WireError
from fleet.metrics.node import NodeMetrics
from tests.expositions import look

JOB = Job(id="j1", tenant="acme", model="m", tier=Tier.BATCH, sha256="0" * 64, items=())


def line(code: str | None = None, *, completion: int = 5, run_s: float = 1.5) -> ResultLine:
    return ResultLine(
        id="j1-0",
        custom_id="secret-custom-id",
        error=None if code is None else WireError(code=code, message="x"),
        usage={"prompt_tokens": 11, "completion_tokens": completion},
        fleet=FleetInfo(
            job="j1", item=0, items=2, node="spot-1", capacity_type="spot", queue_s=3.0, run_s=run_s
        ),
    )


def samples(metrics: NodeMetrics) -> dict[str, float]:
    """Read a scrape as Prometheus does: a sample's name with its labels, and its value."""
    text = metrics.page().body.decode()
    return {
        name + str(dict(sorted(labels.items()))): value
        for family in text_string_to_metric_families(text)
        for name, labels, value, *_ in family.samples
    }


@pytest.fixture
def metrics() -> NodeMetrics:
    return NodeMetrics(look)


def test_safe_lines_are_counted_by_how_they_ended(metrics: NodeMetrics) -> None:
    lines = [line(), line("expired", run_s=0.0), line("engine_refused")]
    metrics.written(JOB, lines, complete=True)
    found = samples(metrics)
    assert found["fleet_items_total{'outcome': 'ok', 'tier': 'batch'}"] == 1
    assert found["fleet_items_total{'outcome': 'expired', 'tier': 'batch'}"] == 1
    assert found["fleet_items_total{'outcome': 'failed', 'tier': 'batch'}"] == 1
    assert found["fleet_jobs_total{'outcome': 'settled', 'tier': 'batch'}"] == 1
    assert found["fleet_tokens_total{'kind': 'completion', 'tier': 'batch'}"] == 15
    # An item that never ran waited for nothing that a slot could have given it.
    assert found["fleet_item_queue_wait_seconds_count{'tier': 'batch'}"] == 2


def test_how_it_stands_is_read_at_the_scrape(metrics: NodeMetrics) -> None:
    found = samples(metrics)
    assert found["fleet_node_items{}"] == 3
    assert found["fleet_node_state{'state': 'ready'}"] == 1
    assert found["fleet_node_state{'state': 'draining'}"] == 0
    assert found["fleet_generated_tokens_total{}"] == 70
    assert found["fleet_checkpoint_age_seconds{}"] == 2


def test_what_is_not_known_is_left_out_and_not_told_as_nothing() -> None:
    unpriced = msgspec.structs.replace(look().node, price_usd_per_hour=None, leaves_at=None)
    metrics = NodeMetrics(lambda: msgspec.structs.replace(look(), node=unpriced))
    found = samples(metrics)
    assert not [name for name in found if name.startswith(("fleet_node_price", "fleet_node_leav"))]


def test_events_are_counted(metrics: NodeMetrics) -> None:
    taken = JobTakenOver(
        at=1.0, node="n", tenant="acme", job="j1", model="m", tier=Tier.BATCH, from_node=None,
        released=True, items_done=1, tokens_saved=40,
    )  # fmt: skip
    given = JobReleased(
        at=1.0, node="n", tenant="acme", job="j1", model="m", tier=Tier.BATCH, items_done=1,
        tokens_saved=40,
    )  # fmt: skip
    metrics.record(taken)
    metrics.record(given)
    metrics.record(EngineLost(at=1.0, node="n", reason="gone", restarts=True))
    metrics.record(NodeDraining(at=1.0, node="n", cause="SIGTERM", left_s=None, jobs=1))
    metrics.record(NodeHinted(at=1.0, node="n", source="aws"))
    found = samples(metrics)
    assert found["fleet_redeliveries_total{'cause': 'released', 'tier': 'batch'}"] == 1
    assert found["fleet_resumed_tokens_total{'tier': 'batch'}"] == 40
    assert found["fleet_jobs_total{'outcome': 'released', 'tier': 'batch'}"] == 1
    assert found["fleet_engine_losses_total{}"] == 1
    assert found["fleet_spot_notices_total{'source': 'signal'}"] == 1
    assert found["fleet_spot_notices_total{'source': 'aws'}"] == 1


def test_a_name_from_outside_is_never_a_label(metrics: NodeMetrics) -> None:
    metrics.record(NodeDraining(at=1.0, node="n", cause="evil-cause", left_s=None, jobs=0))
    metrics.written(JOB, [line("evil-code")], complete=True)
    text = metrics.page().body.decode()
    for foreign in ("evil", "secret-custom-id", "acme", "j1"):
        assert foreign not in text
    assert 'fleet_spot_notices_total{source="other"} 1.0' in text


def test_every_name_says_its_unit_and_begins_alike(metrics: NodeMetrics) -> None:
    names = [
        family.name
        for family in text_string_to_metric_families(metrics.page().body.decode())
        # What libraries count in the same process stands beside ours.
        if not family.name.startswith(("python_", "process_", "vllm:"))
    ]
    assert names
    assert [name for name in names if not name.startswith("fleet_")] == []


def test_work_is_unsaved_since_it_began_or_was_last_made_safe() -> None:
    totals = Totals()
    totals.clock.enter()
    assert totals.unsaved_s < 5
    totals.clock.busy_from -= 100
    assert totals.unsaved_s >= 100
    totals.kept(JOB, 0.0)
    assert totals.unsaved_s < 5
    totals.saved_at = time.monotonic() - 50
    assert totals.unsaved_s >= 50
