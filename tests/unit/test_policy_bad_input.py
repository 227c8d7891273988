"""What cannot be read, or cannot be right: held, reported, never a crash or a runaway launch."""

import pytest
from msgspec.structs import replace

from fleet.pool.decision import Cooling, Memory
from fleet.pool.knobs import Knobs
from fleet.pool.policy import decide
from fleet.pool.snapshot import BecameReady, Count, Crashed, LaunchFailed, Load, Reclaimed, Work
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

BUSY = work(node_h=40, due_in_h=20)


def test_a_provider_that_does_not_answer_is_waited_for() -> None:
    knobs = replace(KNOBS, baseline=2)
    memory = remembering(spot=4, fallback=2, realtime=3)
    decision = decide(snapshot(BUSY, zones=None), knobs, memory)
    assert (decision.spot, decision.fallback, decision.realtime) == (4, 2, 3)
    assert not decision.launches
    assert not decision.releases
    assert "the provider did not say" in text(decision, "data_missing")
    assert decision.memory.at == NOW


def test_on_demand_goes_on_with_batches_while_nothing_can_be_read() -> None:
    lent = snapshot(BUSY, zones=zones((0, 0, 0), on_demand=4), load=Load(busy=0.0, spare=4.0))
    before = decide(lent, replace(KNOBS, baseline=4), Memory())
    assert (before.fallback, before.batch_fallback) == (0, True)
    for seen in (replace(lent, now=NOW + 15, zones=None), replace(lent, now=NOW + 15, work=None)):
        assert decide(seen, replace(KNOBS, baseline=4), before.memory).batch_fallback


def test_what_happens_while_the_provider_is_silent_is_remembered() -> None:
    taken = (Reclaimed(zone="a", at=NOW, count=2),)
    blind = decide(snapshot(BUSY, zones=None, happened=taken), KNOBS, remembering())
    seeing = decide(snapshot(BUSY, now=NOW + 15), KNOBS, blind.memory)
    assert set(launched(seeing, "spot")) == {"b", "c"}


def test_what_is_told_twice_counts_once() -> None:
    told = (
        LaunchFailed(zone="a", at=NOW, capacity_type="spot"),
        Crashed(zone="b", at=NOW, capacity_type="spot"),
        Crashed(zone="b", at=NOW, capacity_type="spot"),
    )
    once = decide(snapshot(BUSY, happened=told), KNOBS, remembering()).memory
    for again in (snapshot(BUSY, happened=told, zones=None), snapshot(BUSY, happened=told)):
        memory = decide(again, KNOBS, once).memory
        assert memory.cooling == once.cooling
        assert memory.crashes == 2


def test_crashes_are_counted_while_the_provider_is_silent() -> None:
    told = tuple(Crashed(zone="a", at=NOW, capacity_type="spot") for _ in range(3))
    blind = decide(snapshot(BUSY, zones=None, happened=told), KNOBS, remembering())
    assert "crash_loop" in codes(decide(snapshot(BUSY, now=NOW + 15), KNOBS, blind.memory))


def test_a_manager_that_starts_blind_asks_the_nodes_once_it_sees_them() -> None:
    blind = decide(snapshot(BUSY, zones=None), KNOBS, Memory())
    here = zones((2, 2, 2), on_demand=3)
    seeing = decide(snapshot(BUSY, zones=here, now=NOW + 15), KNOBS, blind.memory)
    assert seeing.fallback == 3
    assert not seeing.releases


def test_a_queue_that_cannot_be_read_leaves_nodes_as_they_are() -> None:
    seen = snapshot(zones=zones((2, 1, 0), on_demand=3), work=None)
    decision = decide(seen, KNOBS, remembering(usual_spot=3.0, fallback=1, falls_back=True))
    assert not decision.launches
    assert not decision.releases
    assert decision.batch_fallback
    assert "the queue could not be read" in text(decision, "data_missing")
    assert decision.memory.usual_spot == 3.0, "nothing is learned without work"


def test_the_baseline_is_restored_even_when_the_queue_cannot_be_read() -> None:
    decision = decide(snapshot(work=None), replace(KNOBS, baseline=2), remembering())
    assert sum(launched(decision, "on-demand").values()) == 2


@pytest.mark.parametrize("item_s", [60.0, None])
def test_a_deadline_in_the_past_launches_nothing_and_delays_nobody(item_s: float | None) -> None:
    late = work("acme.late", node_h=500, due_in_h=-1, item_s=item_s)
    decision = decide(snapshot(late, work(node_h=2, due_in_h=10)), KNOBS, Memory())
    assert decision.figures.required == pytest.approx(2 / (10 - 1 / 3))
    assert "acme.late" in text(decision, "late")
    alone = decide(snapshot(late), KNOBS, Memory())
    assert not alone.launches
    assert (alone.spot, alone.on_demand) == (0, 0)
    assert not alone.batch_fallback
    assert "acme.late" in text(alone, "late")


def test_a_deadline_too_near_for_new_nodes_launches_none_and_keeps_those_there_are() -> None:
    near = work(node_h=1, due_in_h=0.2)
    fresh = decide(snapshot(near), KNOBS, Memory())
    assert fresh.fallback == 0
    [risk] = fresh.at_risk
    assert (risk.batch, risk.why, risk.late_s) == ("acme.b1", "last_call", None)
    here = snapshot(near, zones=zones((0, 0, 0), on_demand=5))
    kept = settled(here, KNOBS, remembering(fallback=5), for_s=660)
    assert kept.fallback == 5


@pytest.mark.parametrize("pace", [None, 0.0, -1.0, float("inf"), float("nan")])
def test_without_a_pace_one_node_is_tried_to_measure_it(pace: float | None) -> None:
    unknown = Work(name="acme.new", items=10**9, item_s=pace, deadline=NOW + 20 * HOUR)
    decision = decide(snapshot(unknown, item_s=pace), KNOBS, Memory())
    assert (decision.spot, decision.on_demand) == (1, 0)
    assert "one node at a time is tried: acme.new" in text(decision, "pace_unknown")
    pressing = replace(unknown, deadline=NOW + HOUR)
    near = decide(snapshot(pressing, item_s=pace), KNOBS, Memory())
    assert near.fallback == 1


def test_a_pace_that_was_known_before_is_better_than_none() -> None:
    unknown = Work(name="acme.new", items=600, deadline=NOW + 10 * HOUR)
    known = decide(snapshot(unknown, item_s=60.0), KNOBS, Memory())
    again = decide(snapshot(unknown, now=NOW + 15), KNOBS, known.memory)
    assert again.figures.work_h == pytest.approx(10)


@pytest.mark.parametrize("jump_s", [-3600.0, -10.0, 86_400.0, 1e12])
def test_a_clock_that_jumps_holds_everything_for_one_look(jump_s: float) -> None:
    first = decide(snapshot(BUSY, zones=zones((2, 0, 0))), KNOBS, remembering(usual_spot=9.0))
    memory = replace(
        first.memory, lower_since=NOW - 60,
        cooling=(Cooling(zone="b", capacity_type="spot", since=NOW - 600, for_s=3600.0,
                         why="reclaimed"),),
    )  # fmt: skip
    jumped = decide(snapshot(BUSY, now=NOW + jump_s), KNOBS, memory)
    assert codes(jumped) == {"clock_jump"}
    assert not jumped.launches
    assert not jumped.releases
    assert jumped.memory.lower_since == pytest.approx(NOW + jump_s - 60, abs=1e-3)
    assert jumped.memory.cooling[0].since == pytest.approx(NOW + jump_s - 600, abs=1e-3)
    after = decide(snapshot(BUSY, now=NOW + jump_s + 15), KNOBS, jumped.memory)
    assert "clock_jump" not in codes(after)


def test_a_clock_that_is_a_second_off_is_no_jump() -> None:
    decision = decide(snapshot(BUSY, now=NOW - 1), KNOBS, remembering(at=NOW))
    assert "clock_jump" not in codes(decision)
    assert decision.launches


def test_nodes_that_crash_at_their_start_are_tried_one_at_a_time() -> None:
    crashes = tuple(Crashed(zone="a", at=NOW - n, capacity_type="spot") for n in range(3))
    decision = decide(snapshot(BUSY, happened=crashes), KNOBS, Memory())
    assert not decision.launches
    assert "the last 3 starts ended in a crash" in text(decision, "crash_loop")
    later = decide(snapshot(BUSY, now=NOW + 60), KNOBS, decision.memory)
    assert sum(one.count for one in later.launches) == 1
    started = (zone("a", spot=Count(starting=1)), zone("b"), zone("c"))
    waiting = decide(snapshot(BUSY, zones=started, now=NOW + 75), KNOBS, later.memory)
    assert not waiting.launches
    well = BecameReady(zone="a", at=NOW + 80, capacity_type="spot")
    up = (zone("a", spot=Count(ready=1)), zone("b"), zone("c"))
    healed = decide(snapshot(BUSY, zones=up, now=NOW + 90, happened=(well,)), KNOBS, waiting.memory)
    assert healed.memory.crashes == 0
    assert sum(one.count for one in healed.launches) > 1


def test_a_crash_loop_never_launches_more_than_a_few_nodes_in_an_hour() -> None:
    memory, launches, at_work = Memory(), 0, work(node_h=400, due_in_h=20)
    crashed: tuple[Crashed, ...] = ()
    for look in range(240):
        now = NOW + 15 * look
        decision = decide(snapshot(at_work, now=now, happened=crashed), KNOBS, memory)
        memory = decision.memory
        many = sum(one.count for one in decision.launches)
        launches += many
        crashed = tuple(Crashed(zone="a", at=now + 1, capacity_type="spot") for _ in range(many))
    assert launches <= KNOBS.tuning.launches_per_tick + 10


@pytest.mark.parametrize("items", [0, -5])
def test_a_batch_without_open_items_is_no_work(items: int) -> None:
    assert decide(snapshot(Work(name="acme.b", items=items, item_s=1.0)), KNOBS, Memory()).spot == 0


@pytest.mark.parametrize("deadline", [float("nan"), float("inf"), float("-inf")])
def test_a_deadline_that_is_no_time_counts_as_none(deadline: float) -> None:
    odd = replace(work(node_h=2, due_in_h=5), deadline=deadline)
    decision = decide(snapshot(odd), KNOBS, Memory())
    assert decision.figures.required == 0
    assert decision.spot > 0


def test_a_start_up_time_that_is_none_is_taken_for_ten_minutes() -> None:
    for startup_s in (None, 0.0, float("nan")):
        assert decide(snapshot(BUSY, startup_s=startup_s), KNOBS, Memory()).figures.startup_s == 600


def test_more_work_than_a_number_holds_is_work_for_all_nodes_there_may_be() -> None:
    endless = Work(name="acme.b", items=10**18, item_s=1e300, deadline=NOW + HOUR)
    decision = decide(snapshot(endless), KNOBS, Memory())
    assert decision.spot == KNOBS.most_spot
    assert decision.fallback == KNOBS.most_on_demand
    assert [risk.batch for risk in decision.at_risk] == ["acme.b"]


def test_real_time_follows_its_load_from_the_baseline_to_twice_as_many() -> None:
    knobs = Knobs(baseline=3)

    def nodes(busy: float) -> int:
        return decide(snapshot(load=Load(busy=busy)), knobs, Memory()).realtime

    assert [nodes(busy) for busy in (0, 2.1, 2.2, 3.5, 3.6, 100)] == [3, 3, 4, 5, 6, 6]


def test_real_time_shrinks_after_ten_minutes_and_never_on_missing_data() -> None:
    knobs = Knobs(baseline=2)
    seen = snapshot(load=Load(busy=0.1), zones=zones((0, 0, 0), on_demand=4))
    memory = remembering(realtime=4)
    assert settled(seen, knobs, memory, for_s=585).realtime == 4
    assert settled(seen, knobs, memory, for_s=600).realtime == 2
    blind = settled(replace(seen, load=None), knobs, memory, for_s=3600)
    assert blind.realtime == 4
    assert not released(blind, "on-demand")
    assert "real-time load is not known: 4 nodes are kept" in text(blind, "data_missing")


def test_a_restart_without_load_data_keeps_every_on_demand_node() -> None:
    seen = snapshot(zones=zones((0, 0, 0), on_demand=4), load=None)
    decision = decide(seen, Knobs(baseline=2), Memory())
    assert not decision.releases
