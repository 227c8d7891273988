"""What events tell of a pool."""

import pytest

from fleet.events import NodeDraining, NodeReady, NodeStarted, UsageRecorded
from fleet.job import CapacityType, Tier
from fleet.pool.progress import Progress


def started(node: str, at: float, *, since: float | None = None,
            kind: CapacityType = "spot", model: str = "m") -> NodeStarted:  # fmt: skip
    return NodeStarted(
        at=at, node=node, capacity_type=kind, zone="a", model=model, host=node[:2], since=since,
        engine="e", pid=1,
    )  # fmt: skip


def used(node: str, *, items: int, engine_s: float, batch: str | None = "b",
         model: str = "m", tier: Tier = Tier.BATCH) -> UsageRecorded:  # fmt: skip
    return UsageRecorded(
        at=9.0, node=node, tenant="t", model=model, tier=tier, batch=batch, jobs=1, items=items,
        failed_items=0, prompt_tokens=1, completion_tokens=1, engine_s=engine_s,
    )  # fmt: skip


def fold(*events: NodeStarted | NodeReady | NodeDraining | UsageRecorded) -> Progress:
    progress = Progress("m")
    for event in events:
        progress.take(event, written_at=event.at)
    return progress


def test_items_are_counted_by_batch_and_only_those_of_the_model_and_tier() -> None:
    progress = fold(
        used("n", items=3, engine_s=6.0),
        used("n", items=2, engine_s=6.0),
        used("n", items=7, engine_s=1.0, model="other"),
        used("n", items=7, engine_s=1.0, tier=Tier.REALTIME),
        used("n", items=7, engine_s=7.0, batch=None),
    )
    assert progress.done("t.b") == 5
    assert progress.item_s("t.b") == pytest.approx(12 / 5)
    assert progress.done("t.other") == 0
    assert progress.item_s("t.other") is None


def test_time_that_brought_no_item_yet_is_no_pace() -> None:
    progress = fold(started("n", 0.0), used("n", items=0, engine_s=6.0))
    assert progress.item_s("t.b") is None
    assert progress.pool_item_s(falls_back=False) is None


def test_the_slower_pace_of_on_demand_counts_only_while_it_works_for_batches() -> None:
    progress = fold(
        started("s", 0.0),
        started("o", 0.0, kind="on-demand"),
        used("s", items=10, engine_s=10.0),
        used("o", items=10, engine_s=40.0),
    )
    assert progress.pool_item_s(falls_back=False) == pytest.approx(1.0)
    assert progress.pool_item_s(falls_back=True) == pytest.approx(4.0)


def test_an_old_pace_fades() -> None:
    progress = Progress("m")
    progress.take(started("s", 0.0), written_at=0.0)
    for _ in range(50):
        progress.take(used("s", items=100, engine_s=100.0), written_at=1.0)
    for _ in range(50):
        progress.take(used("s", items=100, engine_s=300.0), written_at=2.0)
    assert progress.pool_item_s(falls_back=False) == pytest.approx(3.0, rel=0.05)


def test_a_start_is_measured_from_the_launch_and_only_the_first_on_a_machine() -> None:
    progress = fold(
        started("n1", 100.0, since=10.0),
        NodeReady(at=130.0, node="n1", load_s=30.0),
        # The same machine again, long after its launch.
        started("n1-2", 5000.0, since=10.0),
        NodeReady(at=5010.0, node="n1-2", load_s=10.0),
    )
    assert progress.startup_s() == pytest.approx(120.0)


def test_the_longest_tenth_of_starts_is_planned_with() -> None:
    progress = Progress("m")
    assert progress.startup_s() is None
    for number in range(1, 11):
        node = f"{number:02}"
        progress.take(started(node, 0.0), written_at=0.0)
        progress.take(NodeReady(at=float(number), node=node, load_s=1.0), written_at=float(number))
    assert progress.startup_s() == pytest.approx(9.0)


def test_a_notice_of_a_market_is_a_reclaim_and_that_of_an_operator_is_none() -> None:
    progress = fold(
        started("s", 0.0),
        started("o", 0.0, kind="on-demand"),
        NodeDraining(at=5.0, node="s", cause="aws", left_s=120.0, jobs=0),
        NodeDraining(at=6.0, node="s", cause="command", left_s=120.0, jobs=0),
        NodeDraining(at=7.0, node="o", cause="azure", left_s=30.0, jobs=0),
        NodeDraining(at=8.0, node="stranger", cause="gcp", left_s=30.0, jobs=0),
    )
    assert [(one.zone, one.at) for one in progress.take_reclaimed()] == [("a", 5.0)]
    assert not progress.take_reclaimed()


def test_a_reclaim_is_of_the_time_at_which_the_server_heard_of_it() -> None:
    progress = fold(started("s", 0.0))
    notice = NodeDraining(at=-3600.0, node="s", cause="aws", left_s=120.0, jobs=0)
    progress.take(notice, written_at=5.0)
    assert [one.at for one in progress.take_reclaimed()] == [5.0]


def test_batches_that_are_over_are_forgotten() -> None:
    progress = fold(used("n", items=3, engine_s=6.0))
    progress.keep({"t.other"})
    assert (progress.done("t.b"), progress.item_s("t.b")) == (0, None)
