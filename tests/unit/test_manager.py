"""The manager at a simulated cloud, by a clock of the test's own."""

import msgspec

from fleet.events import NodeGone, NodeLaunched
from fleet.pool.decision import Decision
from fleet.pool.knobs import Knobs, Tuning
from fleet.pool.simcloud import SimZone
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


async def test_the_ledger_is_told_of_every_machine_once_and_of_those_nobody_hears_too() -> None:
    world = World()
    run = Run(world)
    world.work = (batch(node_h=40, due_in_h=24),)
    await run.ticks(300)
    machines = await world.machines()
    told = [one for one in world.events if isinstance(one, NodeLaunched)]
    assert {(one.node, one.since) for one in told} >= {(m.node, m.started_at) for m in machines}
    assert len({one.node for one in told}) == len(told)
    world.mute.add(machines[0].id)
    await run.ticks(30)
    world.cloud.reclaim(machines[0].id)
    await run.ticks(300)
    [gone] = [one for one in world.events if isinstance(one, NodeGone)]
    assert gone.node == machines[0].node


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


async def test_a_pace_that_an_operator_names_counts_until_one_is_measured() -> None:
    world = World()
    world.work = (msgspec.structs.replace(batch(node_h=40, due_in_h=24), item_s=None),)
    assert (await Run(world).tick()).spot == 1
    known = Run(world, Knobs(most_spot=6, most_on_demand=20, tuning=Tuning(item_s=60.0)))
    world.keys.told = None
    assert (await known.tick()).spot == 5


async def test_a_node_that_goes_because_we_told_it_to_is_no_reclaim() -> None:
    world = World()
    run = Run(world)
    world.work = (batch(node_h=40, due_in_h=24),)
    await run.ticks(300)
    held = [one.id for one in await world.machines()]
    world.busy, world.work = set(held), ()
    await run.tick()
    assert world.draining == set(held)
    # As a process does that has handed over, for nobody is seen to have ended it.
    for id_ in held:
        world.cloud.reclaim(id_)
    decision = await run.ticks(200)
    assert not decision.memory.cooling
    gone = [one for one in world.events if isinstance(one, NodeGone)]
    assert {one.cause for one in gone} == {"drained"}


async def test_a_reclaim_that_the_node_told_of_is_not_told_again_by_its_end() -> None:
    world = World()
    run = Run(world)
    world.work = (batch(node_h=40, due_in_h=24),)
    await run.ticks(300)
    held = await world.machines()
    first, second = (next(one for one in held if one.zone == zone) for zone in ("a", "b"))
    world.noticed = {first.id}
    await run.tick()
    for one in (first, second):
        world.cloud.reclaim(one.id)
    decision = await run.tick()
    assert [one.zone for one in decision.memory.cooling] == ["b"]
