"""The policy as an operator meets it: so much work, so much time, so much spot; what then?"""

import msgspec
import pytest
from msgspec.structs import replace

from fleet.pool.decision import Memory
from fleet.pool.knobs import Knobs, Tuning
from fleet.pool.policy import decide
from fleet.pool.snapshot import Count, Load
from tests.scenes import (
    HOUR,
    KNOBS,
    NOW,
    codes,
    launched,
    released,
    remembering,
    settled,
    snapshot,
    text,
    work,
    zone,
    zones,
)


def test_without_work_there_is_nothing_to_do_and_that_is_said() -> None:
    decision = decide(snapshot(), KNOBS, Memory())
    assert (decision.spot, decision.on_demand, decision.launches) == (0, 0, ())
    assert codes(decision) == {"idle"}
    assert not decision.batch_fallback


def test_a_batch_with_time_is_given_spot_alone_with_room_to_run_ahead() -> None:
    # 20 node-hours in 10 h, less twice ten minutes: 2.07 nodes; twice that and one more.
    decision = decide(snapshot(work(node_h=20, due_in_h=10)), KNOBS, Memory(usual_spot=3.0))
    assert decision.figures.required == pytest.approx(20 / (10 - 1 / 3))
    assert decision.spot == 6
    assert launched(decision, "spot") == {"a": 2, "b": 2, "c": 2}
    assert decision.on_demand == 0
    assert text(decision, "spot_target") == (
        "6 spot nodes wanted: 2 times the required 2.07, and one more"
    )
    assert "r = 2.07" in text(decision, "not_pressing")
    assert "K = 2.40" in text(decision, "not_pressing")


def test_of_several_deadlines_the_one_that_asks_for_most_sets_the_rate() -> None:
    pressing = work("acme.soon", node_h=8, due_in_h=4)
    distant = work("acme.later", node_h=4, due_in_h=24)
    decision = decide(snapshot(distant, pressing), KNOBS, Memory())
    assert decision.figures.required == pytest.approx(8 / (4 - 1 / 3))


def test_a_queue_that_serves_by_arrival_counts_what_waits_in_front() -> None:
    big = work("acme.big", node_h=40, due_in_h=40, submitted_at=NOW - 20)
    urgent = work("acme.urgent", node_h=1, due_in_h=4, submitted_at=NOW - 10)
    by_deadline = decide(snapshot(big, urgent), KNOBS, Memory())
    by_arrival = decide(snapshot(big, urgent, order="arrival"), KNOBS, Memory())
    assert by_deadline.figures.required == pytest.approx(41 / (40 - 1 / 3))
    assert by_arrival.figures.required == pytest.approx(41 / (4 - 1 / 3))


def test_spot_that_usually_is_there_stands_for_spot_that_was_just_taken() -> None:
    memory = remembering(usual_spot=4.0)
    decision = decide(snapshot(work(node_h=50, due_in_h=20)), KNOBS, memory)
    assert decision.figures.credit == pytest.approx(0.8 * 4, rel=0.01)
    assert decision.fallback == 0
    assert "4.00 usually are" in text(decision, "credit") or "3.99" in text(decision, "credit")


def test_without_usual_spot_on_demand_stands_in_for_the_deficit_alone() -> None:
    # 2.58 nodes are required, one is ready.
    seen = snapshot(work(node_h=50, due_in_h=20), zones=zones((1, 0, 0)))
    decision = decide(seen, KNOBS, Memory())
    assert decision.figures.deficit == pytest.approx(50 / (20 - 1 / 3) - 1)
    assert decision.fallback == 2
    assert sum(launched(decision, "on-demand").values()) == 2
    assert decision.batch_fallback
    assert "O = 2" in text(decision, "deficit")


def test_near_a_deadline_only_ready_spot_counts() -> None:
    memory = remembering(usual_spot=8.0)
    # 4 nodes are required; the usual spot is no help within an hour and a half.
    seen = snapshot(work(node_h=4, due_in_h=4 / 3), zones=zones((1, 0, 0)))
    decision = decide(seen, KNOBS, memory)
    assert decision.figures.last_call == pytest.approx(3)
    assert decision.fallback == 3
    assert "acme.b1" in text(decision, "last_call")


def test_on_demand_is_raised_at_once_and_lowered_after_ten_minutes_of_less_need() -> None:
    seen = snapshot(work(node_h=4, due_in_h=24), zones=zones((3, 0, 0), on_demand=5))
    memory = remembering(usual_spot=3.0, fallback=5)
    early = settled(seen, KNOBS, memory, for_s=590)
    assert early.fallback == 5
    assert "holding" in codes(early)
    assert not released(early, "on-demand")
    late = settled(seen, KNOBS, memory, for_s=600)
    assert late.fallback == 0
    assert released(late, "on-demand") == {"a": 5}


def test_a_need_that_comes_back_starts_the_ten_minutes_anew() -> None:
    idle = snapshot(work(node_h=4, due_in_h=24), zones=zones((3, 0, 0), on_demand=5))
    needy = replace(idle, work=(work(node_h=8 * 24, due_in_h=24),), now=NOW + 600)
    first = settled(idle, KNOBS, remembering(usual_spot=3.0, fallback=5), for_s=585)
    assert first.memory.lower_since == NOW
    second = decide(needy, KNOBS, first.memory)
    assert second.memory.lower_since is None
    third = decide(replace(idle, now=NOW + 615), KNOBS, second.memory)
    assert third.memory.lower_since == NOW + 615


def test_a_little_less_need_lowers_nothing() -> None:
    # 4.2 of 5 nodes are needed still: not below 0.8 x 5 - 1.
    seen = snapshot(work(node_h=7.2 * 24, due_in_h=24.34), zones=zones((3, 0, 0), on_demand=5))
    decision = settled(seen, KNOBS, remembering(usual_spot=3.0, fallback=5), for_s=1200)
    assert decision.fallback == 5


def test_on_demand_stays_until_the_spot_that_replaces_it_is_ready() -> None:
    # Credit covers the rate, but only one of the three required spot nodes is ready.
    starting = zone("a", spot=Count(ready=1, starting=3), on_demand=Count(ready=2))
    seen = snapshot(work(node_h=3 * 23, due_in_h=23.34), zones=(starting, zone("b"), zone("c")))
    memory = remembering(usual_spot=9.0, fallback=2)
    waiting = settled(seen, KNOBS, memory, for_s=900)
    assert waiting.fallback == 2
    assert "until the spot that replaces them is ready" in text(waiting, "holding")
    ready = zone("a", spot=Count(ready=4), on_demand=Count(ready=2))
    seen = replace(seen, now=waiting.at + 15, zones=(ready, zone("b"), zone("c")))
    assert decide(seen, KNOBS, waiting.memory).fallback == 0


def test_when_the_work_is_done_nobody_is_kept() -> None:
    seen = snapshot(zones=zones((2, 1, 0), on_demand=2))
    decision = decide(seen, KNOBS, remembering(usual_spot=3.0, fallback=2))
    assert released(decision, "spot") == {"a": 2, "b": 1}
    assert released(decision, "on-demand") == {"a": 2}
    assert not decision.batch_fallback


def test_scarce_spot_is_taken_wherever_it_is() -> None:
    seen = snapshot(work(node_h=40, due_in_h=20))
    decision = decide(seen, KNOBS, remembering(fill=0.5, usual_spot=1.0))
    assert decision.spot == KNOBS.most_spot
    assert "spot is scarce (50%" in text(decision, "spot_scarce")


def test_no_more_spot_is_wanted_than_there_is_work_for() -> None:
    # Half a node-hour keeps three nodes busy for the ten minutes that one takes to start.
    seen = snapshot(work(node_h=0.5, due_in_h=20))
    assert decide(seen, KNOBS, remembering(fill=0.5)).spot == 3


def test_work_without_a_deadline_gets_spot_and_never_on_demand() -> None:
    decision = decide(snapshot(work(node_h=100, due_in_h=None)), KNOBS, Memory())
    assert decision.spot > 0
    assert decision.figures.required == 0
    assert decision.on_demand == 0


def test_at_most_so_many_nodes_are_launched_at_once() -> None:
    knobs = replace(KNOBS, most_spot=500, tuning=Tuning(launches_per_tick=7))
    decision = decide(snapshot(work(node_h=5000, due_in_h=24)), knobs, Memory())
    assert sum(one.count for one in decision.launches) == 7
    assert "7 at most are launched at once" in text(decision, "launch_cap")
    assert decision.launches[0].capacity_type == "on-demand", "deadlines come first"


def test_what_the_real_time_pool_can_spare_is_used_before_anything_is_launched() -> None:
    seen = snapshot(
        work(node_h=24, due_in_h=12), zones=zones((0, 0, 0), on_demand=4),
        load=Load(busy=1.0, spare=2.5),
    )  # fmt: skip
    decision = decide(seen, replace(KNOBS, baseline=4), Memory(at=NOW - 15, usual_spot=0.0))
    assert decision.figures.deficit == pytest.approx(24 / (12 - 1 / 3))
    assert decision.fallback == 0
    assert decision.batch_fallback
    assert not decision.at_risk


def test_a_paused_manager_says_what_it_would_do() -> None:
    decision = decide(snapshot(work(node_h=20, due_in_h=10), paused=True), KNOBS, Memory())
    assert decision.launches
    assert not decision.carry_out
    assert "paused" in codes(decision)


def test_a_restarted_manager_takes_the_nodes_for_what_was_decided() -> None:
    # Nothing is known from before, five on-demand nodes work for batches: they are not dropped.
    seen = snapshot(work(node_h=4, due_in_h=24), zones=zones((2, 0, 0), on_demand=5))
    decision = decide(seen, KNOBS, Memory())
    assert decision.fallback == 5
    assert not decision.releases


def test_the_same_situation_gives_the_same_decision() -> None:
    seen = snapshot(work(node_h=50, due_in_h=20), zones=zones((1, 0, 2)))
    memory = remembering(usual_spot=2.0)
    assert decide(seen, KNOBS, memory) == decide(seen, KNOBS, memory)


def test_every_step_carries_its_reason_in_words_and_numbers() -> None:
    seen = snapshot(work(node_h=50, due_in_h=10), zones=zones((1, 0, 0), on_demand=0))
    decision = decide(seen, KNOBS, Memory())
    assert {one.why for one in decision.launches} == {
        "N = 0 and O = 5, 0 held", f"S = {decision.spot}, 1 held"
    }  # fmt: skip
    more = decide(snapshot(zones=zones((2, 0, 0))), KNOBS, remembering())
    assert [one.why for one in more.releases] == ["2 spot nodes held, 0 wanted"]


def test_the_moment_from_which_only_ready_nodes_count_is_told() -> None:
    decision = decide(snapshot(work(node_h=10, due_in_h=12)), KNOBS, Memory())
    # Twice ten minutes of start-up, 1.5 h of usual spot, 10 h of work at a burst of five nodes.
    assert decision.figures.last_call_at == pytest.approx(NOW + (12 - 1 / 3 - 1.5 - 2) * HOUR)


def test_no_more_nodes_are_wanted_than_have_work_for_as_long_as_they_take_to_start() -> None:
    seen = snapshot(work(node_h=0.4, due_in_h=0.5))  # at ten minutes a start
    assert decide(seen, KNOBS, Memory()).spot == 3
    easy = replace(KNOBS, tuning=Tuning(worth=0.25))
    assert decide(seen, easy, Memory()).spot > 3
    keen = replace(KNOBS, tuning=Tuning(worth=2.0))
    assert decide(seen, keen, Memory()).spot == 2


def test_a_far_deadline_does_not_press_where_no_on_demand_node_may_be_bought() -> None:
    knobs = replace(KNOBS, most_on_demand=0)
    seen = snapshot(work(node_h=1, due_in_h=12))
    decision = decide(seen, knobs, Memory(usual_spot=2.0))
    assert not decision.batch_fallback
    # One hour of work at one node.
    assert decision.figures.last_call_at == pytest.approx(NOW + (12 - 1 / 3 - 1.5 - 1) * HOUR)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"most_spots": 3}, "most_spots"),
        ({"price_ceiling": 1.2}, "price_ceiling"),
        ({"budget_usd_per_h": 0}, "budget_usd_per_h"),
        ({"most_spot": -1}, "most_spot"),
    ],
)
def test_knobs_that_make_no_sense_are_refused_by_name(given: object, complaint: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=complaint):
        msgspec.convert(given, Knobs)
