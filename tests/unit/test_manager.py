"""The manager at a simulated cloud, by a clock of the test's own."""

import asyncio

import msgspec
import pytest

from fleet.events import NodeGone
from fleet.pool.decision import Decision
from fleet.pool.knobs import Knobs, Tuning
from fleet.pool.simcloud import SimZone
from fleet.pool.snapshot import Load, Price
from tests.pools import EPOCH, HOUR, ZONES, Run, World, batch


def codes(decision: Decision) -> set[str]:
    return {one.code for one in decision.reasons}


async def test_work_brings_spot_over_three_zones_and_its_end_gives_all_back() -> None:
    world = World()
    run = Run(world)
    world.work = (batch(node_h=40, due_in_h=24),)
    await run.ticks(300)
    held = await world.machines("running")
    assert {one.capacity_type for one in held} == {"spot"}
    assert {one.zone for one in held} == set(ZONES)
    world.work = ()
    await run.ticks(60)
    assert await world.counts() == (0, 0)
    assert world.acted("launched")
    # Nodes that were ready are told to go first, and only then lose their machine.
    assert {m for one in world.acted("drained") for m in one.machines} == {
        f"{one.id}-x1" for one in held
    }


async def test_every_change_is_told_with_its_reasons_and_no_change_is_told_once() -> None:
    world = World()
    run = Run(world)
    world.work = (batch(node_h=40, due_in_h=24),)
    await run.ticks(300)
    told = world.decided()
    assert told[0].spot > 0
    assert any("spot nodes wanted" in text for text in told[0].reasons)
    await run.ticks(300)
    assert world.decided() == told


async def test_a_deadline_without_spot_is_met_by_on_demand_and_the_switch() -> None:
    world = World(spot=0)
    run = Run(world)
    world.work = (batch(node_h=4, due_in_h=1.8),)
    decision = await run.ticks(60)
    assert decision.batch_fallback
    assert world.keys.turned == [True]
    spot, on_demand = await world.counts()
    assert spot == 0
    assert on_demand >= 3
    assert world.acted("refused")
    world.work = ()
    await run.ticks(60)
    assert world.keys.turned == [True, False]
    assert await world.counts() == (0, 0)


async def test_a_zone_that_is_taken_away_is_replaced_elsewhere_and_used_again_later() -> None:
    world = World()
    run = Run(world)
    world.work = (batch(node_h=100, due_in_h=24),)
    await run.ticks(300)
    before = await world.counts()
    world.cloud.offer(SimZone(name="a", spot=0))
    await run.ticks(300)
    assert (await world.counts())[0] == before[0]
    assert "a" not in {one.zone for one in await world.machines()}
    world.cloud.offer(SimZone(name="a"))
    for other in ("b", "c"):
        world.cloud.offer(SimZone(name=other, spot=0))
    await run.ticks(600)
    assert {one.zone for one in await world.machines()} == {"a"}


async def test_a_busy_node_keeps_its_machine_until_it_has_handed_over() -> None:
    world = World()
    run = Run(world)
    world.work = (batch(node_h=40, due_in_h=24),)
    await run.ticks(300)
    world.busy = {one.id for one in await world.machines()}
    world.work = ()
    await run.ticks(120)
    assert {one.id for one in await world.machines()} == world.busy
    world.busy = set()
    await run.tick()
    assert await world.counts() == (0, 0)


async def test_a_node_that_drains_for_ever_loses_its_machine_all_the_same() -> None:
    world = World()
    run = Run(world)
    world.work = (batch(node_h=40, due_in_h=24),)
    await run.ticks(300)
    world.busy = {one.id for one in await world.machines()}
    world.work = ()
    await run.ticks(1000)
    assert await world.counts() == (0, 0)


async def test_the_next_manager_ends_what_the_one_before_has_drained() -> None:
    world = World()
    run = Run(world)
    world.work = (batch(node_h=40, due_in_h=24),)
    await run.ticks(300)
    world.busy = {one.id for one in await world.machines()}
    world.work = ()
    await run.tick()
    assert world.draining == world.busy
    gone = world.draining
    other = Run(world)
    await other.tick()
    assert {one.id for one in await world.machines()} == gone
    world.busy, world.mute = set(), gone
    await other.ticks(400)
    assert await world.counts() == (0, 0)


async def test_a_manager_that_stands_by_does_nothing() -> None:
    world = World()
    run = Run(world)
    run.lease.leads_for = 0
    world.work = (batch(node_h=40, due_in_h=24),)
    assert await run.manager.tick() is None
    assert world.cloud.calls == []
    assert world.events == []
    assert world.keys.told is None


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


async def test_while_it_is_paused_it_says_what_it_would_do_and_does_nothing() -> None:
    world = World()
    run = Run(world)
    world.keys.is_paused = True
    world.work = (batch(node_h=40, due_in_h=24),)
    decision = await run.tick()
    assert decision.launches
    assert "paused" in codes(decision)
    assert await world.counts() == (0, 0)
    world.keys.is_paused = False
    await run.tick()
    assert await world.counts() != (0, 0)


async def test_a_pause_that_cannot_be_read_stays() -> None:
    world = World()
    run = Run(world)
    world.keys.is_paused = True
    world.work = (batch(node_h=40, due_in_h=24),)
    await run.tick()
    world.keys.is_paused, world.keys.down = False, True
    await run.tick()
    assert await world.counts() == (0, 0)


async def test_knobs_that_an_operator_sets_count_with_the_next_look() -> None:
    world = World()
    run = Run(world)
    world.work = (batch(node_h=100, due_in_h=24),)
    await run.ticks(60)
    assert (await world.counts())[0] == 6
    world.keys.set_knobs = Knobs(most_spot=2)
    await run.ticks(60)
    assert (await world.counts())[0] == 2


async def test_whoever_takes_over_remembers_what_cools_off() -> None:
    world = World()
    run = Run(world)
    world.work = (batch(node_h=100, due_in_h=24),)
    world.cloud.offer(SimZone(name="a", spot=0))
    await run.ticks(30)
    other = Run(world)
    decision = await other.tick()
    assert {one.zone for one in decision.memory.cooling} == {"a"}
    assert msgspec.json.encode(decision.memory)


async def test_the_ledger_is_told_when_a_machine_has_gone() -> None:
    world = World()
    run = Run(world)
    world.work = (batch(node_h=40, due_in_h=24),)
    await run.ticks(300)
    lost = (await world.machines())[0]
    world.cloud.reclaim(lost.id)
    await run.ticks(300)
    [gone] = [one for one in world.events if isinstance(one, NodeGone)]
    assert (gone.node, gone.cause) == (f"{lost.id}-x1", "reclaimed")


async def test_why_a_batch_waits_is_told_by_the_last_look() -> None:
    world = World(spot=0)
    run = Run(world)
    assert run.manager.why("acme.b") is None
    world.work = (batch(node_h=4, due_in_h=20),)
    await run.ticks(60)
    outlook = run.manager.why("acme.b")
    assert outlook is not None
    assert "no_spot" in {one.code for one in outlook.reasons}
    assert outlook.latest_switch is not None
    assert outlook.latest_switch < EPOCH + 20 * HOUR
