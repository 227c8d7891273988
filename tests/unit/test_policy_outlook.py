"""Why is it waiting? What a person is told of one batch."""

import pytest
from msgspec.structs import replace

from fleet.pool.decision import Code, Memory, Outlook
from fleet.pool.knobs import Knobs
from fleet.pool.outlook import outlook
from fleet.pool.policy import decide
from fleet.pool.snapshot import Count, Crashed, LaunchFailed, Load, Snapshot, Work
from tests.scenes import HOUR, KNOBS, NOW, remembering, snapshot, work, zone, zones


def look(
    seen: Snapshot, memory: Memory | None = None, *, knobs: Knobs = KNOBS, batch: str = "acme.b1"
) -> Outlook:
    decision = decide(seen, knobs, memory or remembering())
    found = outlook(seen, knobs, decision, batch)
    assert found is not None
    return found


def said(found: Outlook, code: Code) -> str:
    return next(reason.text for reason in found.reasons if reason.code == code)


def test_a_batch_that_is_not_there_or_done_has_no_outlook() -> None:
    seen = snapshot(work(node_h=3, due_in_h=9), Work(name="acme.done", items=0))
    decision = decide(seen, KNOBS, Memory())
    assert outlook(seen, KNOBS, decision, "acme.other") is None
    assert outlook(seen, KNOBS, decision, "acme.done") is None


def test_the_latest_switch_is_when_on_demand_alone_is_just_enough() -> None:
    found = look(snapshot(work(node_h=20, due_in_h=10)), remembering(usual_spot=9.0))
    # Twenty node-hours on ten nodes, and twice ten minutes to start them.
    assert found.latest_switch == pytest.approx(NOW + (10 - 2 - 1 / 3) * HOUR)
    assert found.ahead_h == pytest.approx(20)


def test_what_is_served_before_counts() -> None:
    first = work("acme.a", node_h=6, due_in_h=5)
    seen = snapshot(first, work(node_h=4, due_in_h=10), zones=zones((2, 2, 1)))
    found = look(seen)
    assert found.ahead_h == pytest.approx(10)
    assert found.eta == pytest.approx(NOW + 10 / 60 * HOUR + (10 - 5 / 6) / 5 * HOUR)


def test_an_eta_begins_with_the_nodes_that_start() -> None:
    starting = (zone("a", spot=Count(starting=4)), zone("b"), zone("c"))
    seen = snapshot(work(node_h=8, due_in_h=10), zones=starting)
    found = look(seen, remembering(usual_spot=4.0))
    assert found.eta == pytest.approx(NOW + 600 + 2 * HOUR)
    assert said(found, "cold_start") == "4 nodes start, which takes up to 10 min"


def test_where_nothing_works_and_nothing_is_expected_there_is_no_eta() -> None:
    happened = tuple(LaunchFailed(zone=name, at=NOW, capacity_type="spot") for name in "abc")
    seen = snapshot(work(node_h=2, due_in_h=None), happened=happened)
    found = look(seen)
    assert (found.eta, found.latest_switch) == (None, None)
    assert "cooling off: a (capacity, 900 s)" in said(found, "no_spot")
    assert "it has no deadline" in said(found, "not_pressing")


def test_a_deadline_that_does_not_press_is_told_with_the_moment_when_it_will() -> None:
    seen = snapshot(work(node_h=10, due_in_h=12))
    found = look(seen, remembering(usual_spot=5.0))
    assert said(found, "not_pressing") == (
        "its deadline is in 12.0 h and needs 0.86 nodes, spot counts for K = 2.40, O = 0: the "
        "usual spot is waited for until 8.2 h from now at the latest"
    )


def test_a_deadline_that_presses_is_told_with_what_is_ready() -> None:
    found = look(snapshot(work(node_h=4, due_in_h=4 / 3), zones=zones((1, 0, 0))))
    assert said(found, "last_call") == (
        "its deadline is in 80 min and needs 4.00 nodes: only the 1 spot nodes that are ready "
        "count, O = 3"
    )


def test_a_deadline_that_has_passed_is_told() -> None:
    found = look(snapshot(work(node_h=4, due_in_h=-2)))
    assert said(found, "late") == "its deadline passed 2.0 h ago: its open items expire"
    assert found.eta is None


def test_a_batch_whose_pace_nobody_knows_is_told() -> None:
    seen = snapshot(Work(name="acme.b1", items=100, deadline=NOW + 20 * HOUR))
    found = look(seen)
    assert found.ahead_h is None
    assert "no item has been measured yet" in said(found, "pace_unknown")


def test_a_batch_at_risk_is_told_by_how_much_and_for_want_of_what() -> None:
    knobs = replace(KNOBS, most_on_demand=2)
    found = look(snapshot(work(node_h=20, due_in_h=5)), knobs=knobs)
    risk = [one.text for one in found.reasons if one.code == "most_on_demand"]
    assert risk[-1] == "its deadline is at risk: 2.29 nodes too few, 5.3 h late"


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        (snapshot(work(node_h=2, due_in_h=9), paused=True), "paused"),
        (snapshot(work(node_h=2, due_in_h=9), zones=None), "data_missing"),
        (
            snapshot(work(node_h=2, due_in_h=9),
                     zones=tuple(zone(name, spot_usd=4.4) for name in "abc")),
            "price_over_ceiling",
        ),
        (
            snapshot(work(node_h=2, due_in_h=9),
                     happened=(LaunchFailed(zone="a", at=NOW, capacity_type="spot",
                                            refusal="quota"),)),
            "quota",
        ),
        (
            snapshot(work(node_h=2, due_in_h=9),
                     happened=tuple(Crashed(zone="a", at=NOW, capacity_type="spot")
                                    for _ in range(3))),
            "crash_loop",
        ),
    ],
)  # fmt: skip
def test_what_keeps_everybody_waiting_comes_first(seen: Snapshot, code: Code) -> None:
    assert look(seen).reasons[0].code == code


def test_capacity_that_is_lent_by_real_time_is_counted_in() -> None:
    seen = snapshot(
        work(node_h=3, due_in_h=3),
        zones=zones((0, 0, 0), on_demand=2),
        load=Load(busy=0, spare=1.5),
    )
    found = look(seen, remembering(realtime=2), knobs=replace(KNOBS, baseline=2))
    assert found.eta == pytest.approx(NOW + 2 * HOUR)
