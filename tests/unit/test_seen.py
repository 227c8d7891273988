"""What the broker told, as a survey says it: bounded, and unknown where it is not known."""

import msgspec
import pytest

from fleet.broker.durables import DurableState
from fleet.errors import BrokerRefused
from fleet.job import Tier
from fleet.node import Node
from fleet.pool.seen import (
    MOST_ZONES,
    OTHER,
    StreamInfo,
    dead_letters,
    nodes_seen,
    queue_seen,
    stream_info,
    stream_seen,
    tenant_jobs,
)

NODE = Node(
    node="n", pid=1, host="h", capacity_type="spot", zone="a", model="m", engine="e",
    state="ready", started_at=0.0, at=0.0, slots=8, items=2, price_usd_per_hour=0.5,
)  # fmt: skip
QUEUE = DurableState(
    name="batch_m", stream="JOBS_BATCH", tier=Tier.BATCH, model="m", stored=9, pending=5,
    ack_pending=3,
)  # fmt: skip


def stream(subjects: dict[str, int], *, max_bytes: int = -1) -> StreamInfo:
    return StreamInfo(
        messages=1, size_bytes=2, last_seq=3, max_bytes=max_bytes, replicas=1, subjects=subjects
    )


def test_nodes_are_counted_by_kind() -> None:
    unpriced = msgspec.structs.replace(NODE, price_usd_per_hour=None)
    (kind,) = nodes_seen([NODE, NODE, unpriced], ["m"])
    assert (kind.nodes, kind.slots, kind.items) == (3, 24, 6)
    assert (kind.usd_per_hour, kind.unpriced) == (1.0, 1)


def test_nodes_that_make_up_names_make_up_no_series() -> None:
    forged = [
        msgspec.structs.replace(NODE, zone=f"zone-{n}", model=f"model-{n}") for n in range(5000)
    ]
    kinds = nodes_seen(forged, ["m"])
    assert {kind.model for kind in kinds} == {OTHER}
    assert len(kinds) <= MOST_ZONES + 1
    assert sum(kind.nodes for kind in kinds) == 5000


def test_tenants_are_counted_together_unless_they_are_named() -> None:
    subjects = {"jobs.batch.m.acme": 3, **{f"jobs.batch.m.t{n}": 1 for n in range(1000)}}
    counts = tenant_jobs({"JOBS_BATCH": stream(subjects)}, frozenset({"acme"}))
    assert counts == {("batch", "acme"): 3, ("batch", OTHER): 1000}
    assert tenant_jobs({}, frozenset()) is None


def test_dead_letters_of_a_made_up_tier_are_others() -> None:
    found = dead_letters(stream({"dead.batch.m.t": 2, "dead.evil.m.t": 1, "dead": 1}))
    assert found == {"realtime": 0, "background": 0, "batch": 2, OTHER: 2}
    assert dead_letters(None) is None


def test_what_is_stored_and_neither_waits_nor_is_out_is_stuck() -> None:
    seen = queue_seen(QUEUE)
    assert (seen.waiting, seen.delivered, seen.stuck) == (5, 3, 1)


def test_a_durable_is_missing_only_where_jobs_wait_for_it() -> None:
    gone = msgspec.structs.replace(QUEUE, exists=False, pending=0, ack_pending=0)
    seen = queue_seen(gone)
    assert (seen.exists, seen.waiting, seen.stuck) == (False, 9, 0)
    assert queue_seen(msgspec.structs.replace(gone, stored=0)).exists


def test_a_stream_without_a_limit_has_none() -> None:
    assert stream_seen("RESULTS", stream({})).limit_bytes is None
    assert stream_seen("JOBS_BATCH", stream({}, max_bytes=10)).limit_bytes == 10


@pytest.mark.parametrize("answer", [{}, {"state": {}}, {"state": {"messages": "x"}, "config": {}}])
def test_an_answer_that_is_none_of_a_stream_is_refused(answer: dict[str, object]) -> None:
    with pytest.raises(BrokerRefused):
        stream_info(answer)
