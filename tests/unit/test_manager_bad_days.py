"""The manager on bad days: clouds that fail, clocks that jump, managers that die."""

import asyncio
import math

import msgspec
import pytest

from fleet.pool.decision import Decision
from fleet.pool.knobs import Knobs, Tuning
from fleet.pool.simcloud import SimZone
from fleet.pool.snapshot import Load, Price
from tests.pools import EPOCH, HOUR, ZONES, Run, World, batch


def codes(decision: Decision) -> set[str]:
    return {one.code for one in decision.reasons}


async def test_a_node_that_drains_for_ever_loses_its_machine_all_the_same() -> None:
    world = World()
    run = Run(world)
    world.work = (batch(node_h=40, due_in_h=24),)
    await run.ticks(300)
    world.busy = {one.id for one in await world.machines()}
    world.work = ()
    await run.ticks(1000)
    assert await world.counts() == (0, 0)


async def test_whoever_loses_the_lease_between_two_steps_takes_no_further_one() -> None:
    world = World()
    run = Run(world)
    world.work = (batch(node_h=100, due_in_h=24),)
    # It leads while it looks, and when it begins to act, and for the first of three launches.
    run.lease.leads_for = 3
    await run.manager.tick()
    assert len(world.acted("launched")) == 1


async def test_a_manager_that_died_behind_a_launch_leaks_nothing() -> None:
    world = World()
    run = Run(world)
    world.cloud.dies = True
    world.work = (batch(node_h=40, due_in_h=24),)
    with pytest.raises(asyncio.CancelledError):
        await run.manager.tick()
    world.cloud.dies = False
    orphans = {one.id for one in await world.machines()}
    assert orphans
    assert not world.acted("launched")
    # The next one counts them: together there are as many as it wants.
    other = Run(world)
    decision = await other.ticks(200)
    spot, _ = await world.counts()
    assert spot == decision.spot
    # One of them never says a word, and is ended for it.
    mute = min(orphans)
    world.mute = {mute}
    world.clock.at = EPOCH + 200
    again = Run(world)
    await again.ticks(2000)
    assert mute not in {one.id for one in await world.machines()}
    assert mute in {id_ for one in world.acted("reaped") for id_ in one.machines}


async def test_a_launch_whose_answer_was_lost_is_not_done_twice() -> None:
    world = World()
    run = Run(world)
    world.work = (batch(node_h=40, due_in_h=24),)
    world.cloud.launch_fates = ("unheard",) * 3
    decision = await run.ticks(300)
    assert (await world.counts())[0] == decision.spot


async def test_with_an_api_that_is_down_nothing_changes_and_it_is_said() -> None:
    world = World()
    run = Run(world)
    world.work = (batch(node_h=40, due_in_h=24),)
    await run.ticks(300)
    before = await world.machines()
    world.cloud.fates = ["unreachable"]
    decision = await run.tick()
    assert "data_missing" in codes(decision)
    assert await world.machines() == before
    assert world.keys.told is not None
    assert world.keys.told.troubles


async def test_an_api_that_asks_for_patience_is_given_some() -> None:
    world = World()
    run = Run(world)
    world.work = (batch(node_h=40, due_in_h=24),)
    world.cloud.launch_fates = ("throttled",) * 3
    await run.tick()
    assert len(world.acted("refused")) == 3
    asked = world.cloud.calls.count("launch")
    assert "throttled" in codes(await run.ticks(30))
    assert world.cloud.calls.count("launch") == asked
    await run.ticks(60)
    assert (await world.counts())[0] == 5


async def test_a_cloud_that_hardly_answers_is_looked_at_before_more_is_asked_of_it() -> None:
    world = World()
    run = Run(world)
    world.work = (batch(node_h=100, due_in_h=24),)

    def slowly() -> None:
        world.clock.at += 70

    world.cloud.takes = slowly
    decision = await run.tick()
    assert len(decision.launches) == 3
    assert len(world.acted("launched")) == 1
    await run.ticks(30)
    assert (await world.counts())[0] == decision.spot


@pytest.mark.parametrize("unknown", ["hearts", "work", "prices", "load"])
async def test_what_cannot_be_read_ends_no_node(unknown: str) -> None:
    world = World()
    run = Run(world, Knobs(most_spot=6, most_on_demand=4, baseline=2))
    world.work, world.load = (batch(node_h=40, due_in_h=24),), Load(busy=2.5)
    await run.ticks(300)
    before = await world.counts()
    match unknown:
        case "hearts":
            world.hearts_heard = False
        case "work":
            world.work = None
        case "prices":
            world.prices = {name: Price() for name in ZONES}
        case _:
            world.load = None
    await run.ticks(300)
    assert await world.counts() == before


async def test_a_clock_that_jumps_launches_and_ends_nothing_at_first() -> None:
    world = World()
    run = Run(world)
    world.work = (batch(node_h=40, due_in_h=24),)
    await run.ticks(300)
    before = {one.id for one in await world.machines()}
    world.clock.at += 12 * HOUR
    assert "clock_jump" in codes(await run.tick())
    assert {one.id for one in await world.machines()} == before


async def test_nothing_is_launched_for_a_deadline_that_has_passed() -> None:
    world = World(spot=0)
    run = Run(world)
    world.work = (batch(node_h=4, due_in_h=-1),)
    decision = await run.ticks(60)
    assert "late" in codes(decision)
    assert (await world.counts())[1] == 0


async def test_when_no_zone_has_any_machine_it_is_said_and_asked_for_again() -> None:
    world = World(spot=0, on_demand=0)
    run = Run(world)
    world.work = (batch(node_h=4, due_in_h=1.8),)
    decision = await run.ticks(120)
    assert {"no_spot", "out_of_stock"} <= codes(decision)
    assert [one.batch for one in decision.at_risk] == ["acme.b"]
    world.cloud.offer(SimZone(name="b"))
    await run.ticks(900)
    assert await world.counts() != (0, 0)


async def test_a_tick_launches_no_more_than_its_cap() -> None:
    world = World()
    run = Run(world, Knobs(most_spot=50, most_on_demand=500, tuning=Tuning(launches_per_tick=4)))
    world.work = (batch(node_h=800, due_in_h=24),)
    await run.tick()
    assert await world.counts() == (4, 0)
    await run.tick()
    assert await world.counts() == (8, 0)


async def test_a_pause_that_cannot_be_read_stays() -> None:
    world = World()
    run = Run(world)
    world.keys.is_paused = True
    world.work = (batch(node_h=40, due_in_h=24),)
    await run.tick()
    world.keys.is_paused, world.keys.down = False, True
    await run.tick()
    assert await world.counts() == (0, 0)


@pytest.mark.parametrize("key", ["knobs", "paused"])
async def test_nothing_is_done_before_it_is_known_what_operators_set(key: str) -> None:
    world = World()
    run = Run(world)
    world.keys.corrupt = {key}
    world.work = (batch(node_h=40, due_in_h=24),)
    await run.ticks(60)
    assert await world.counts() == (0, 0)
    assert world.keys.told is not None
    assert any("nothing is done until it is" in text for text in world.keys.told.troubles)
    world.keys.corrupt = set()
    await run.tick()
    assert await world.counts() != (0, 0)


async def test_knobs_that_became_foreign_keep_nobody_from_pausing() -> None:
    world = World()
    run = Run(world)
    await run.tick()
    world.keys.corrupt, world.keys.is_paused = {"knobs"}, True
    world.work = (batch(node_h=40, due_in_h=24),)
    await run.tick()
    assert await world.counts() == (0, 0)


async def test_a_switch_that_cannot_be_read_is_turned_in_any_case() -> None:
    world = World()
    run = Run(world)
    world.keys.corrupt = {"fallback"}
    await run.tick()
    assert world.keys.turned == [False]


@pytest.mark.parametrize(("node_h", "window_h"), [(40, 24), (6, 4)])
async def test_a_deadline_is_met_although_spot_never_comes(node_h: float, window_h: float) -> None:
    world = World(spot=0)
    run = Run(world)
    left_s, tick_s = node_h * HOUR, 60.0
    while left_s > 0:
        assert world.clock.at < EPOCH + window_h * HOUR, f"{left_s / HOUR:.1f} node-hours late"
        one = batch(node_h=node_h, due_in_h=window_h)
        world.work = (msgspec.structs.replace(one, items=math.ceil(left_s / 60)),)
        await run.tick(after_s=tick_s)
        if world.keys.switch:
            left_s -= tick_s * len(await world.machines("running"))
    # Not much sooner either: spot was waited for.
    assert world.clock.at > EPOCH + window_h * HOUR / 3
