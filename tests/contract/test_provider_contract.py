"""What every provider of machines promises, whoever owns them."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fleet.job import CapacityType
from fleet.pool.provider import Fault, Granted, Machine, Provider, Request
from tests.contract.worlds import Ec2World, SimWorld, World, guarded, local_world

BOUND_S = 60.0


@pytest.fixture(params=["simulated", "simulated and guarded", "local", "ec2 and guarded"])
async def world(
    request: pytest.FixtureRequest, unique: str, tmp_path: Path
) -> AsyncIterator[World]:
    match request.param:
        case "simulated":
            yield SimWorld()
        case "simulated and guarded":
            yield guarded(SimWorld())
        case "local":
            nats_url = request.getfixturevalue("nats_url")
            async with local_world(nats_url, unique, tmp_path) as local:
                yield local
        case _:
            yield guarded(Ec2World(request.getfixturevalue("moto"), unique))


async def machines(provider: Provider) -> dict[str, Machine]:
    """List those that are alive."""
    listed = await provider.list()
    assert not isinstance(listed, Fault), listed
    return {one.id: one for one in listed if one.alive}


async def launch(
    world: World, count: int = 1, capacity_type: CapacityType = "spot", zone: int = 0
) -> Granted:
    return await world.provider.launch(
        request(world.zones[zone], count=count, capacity_type=capacity_type)
    )


def request(zone: str, *, count: int = 1, capacity_type: CapacityType = "spot") -> Request:
    return Request(id=secrets.token_hex(8), capacity_type=capacity_type, zone=zone, count=count)


async def test_a_pool_that_launched_nothing_has_no_machine(world: World) -> None:
    assert await world.provider.list() == ()


async def test_what_was_launched_is_listed_as_it_was_wanted(world: World) -> None:
    spot = await launch(world, 2)
    other = await launch(world, 1, "on-demand", zone=1)
    assert not spot.faults
    assert spot.shortfall is None
    listed = await machines(world.provider)
    assert set(listed) == {one.id for one in (*spot.machines, *other.machines)}
    assert len(listed) == 3
    for granted, kind, zone in ((spot, "spot", 0), (other, "on-demand", 1)):
        for one in granted.machines:
            seen = listed[one.id]
            assert (seen.capacity_type, seen.zone) == (kind, world.zones[zone])
            assert (seen.node, seen.launch) == (one.node, one.launch)
            assert seen.instance_type == one.instance_type
            assert abs(seen.started_at - time.time()) < BOUND_S


async def test_every_machine_has_a_node_of_its_own(world: World) -> None:
    granted = await launch(world, 3)
    assert len({one.node for one in granted.machines}) == 3


async def test_the_same_launch_again_brings_the_same_machines(world: World) -> None:
    wanted = request(world.zones[0], count=2)
    first = await world.provider.launch(wanted)
    second = await world.provider.launch(wanted)
    assert {one.id for one in first.machines} == {one.id for one in second.machines}
    assert len(await machines(world.provider)) == 2


async def test_the_same_launch_twice_at_once_brings_the_machines_once(world: World) -> None:
    wanted = request(world.zones[0], count=2)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(world.provider.launch(wanted)) for _ in range(2)]
    first, second = ({one.id for one in task.result().machines} for task in tasks)
    assert first == second
    assert len(await machines(world.provider)) == 2


async def test_what_was_terminated_ends_and_the_others_stay(world: World) -> None:
    granted = await launch(world, 3)
    doomed, *kept = (one.id for one in granted.machines)
    done = await world.provider.terminate([doomed])
    assert (done.ids, done.faults) == ((doomed,), ())
    assert set(await machines(world.provider)) == set(kept)


async def test_who_has_ended_may_be_terminated_again(world: World) -> None:
    granted = await launch(world)
    ids = [one.id for one in granted.machines]
    await world.provider.terminate(ids)
    assert (await world.provider.terminate(ids)).faults == ()
    assert not await machines(world.provider)


async def test_who_was_never_there_counts_as_ended(world: World) -> None:
    granted = await launch(world)
    done = await world.provider.terminate(["i-00000000000000000"])
    assert (done.ids, done.faults) == (("i-00000000000000000",), ())
    assert set(await machines(world.provider)) == {one.id for one in granted.machines}


async def test_a_name_with_other_signs_in_it_means_nobody(world: World) -> None:
    granted = await launch(world)
    ours = {one.id for one in granted.machines}
    for id_ in ("*", "i-*", "?" * 19, "", "i-0\n", "i" * 5000):
        assert (await world.provider.terminate([id_])).faults == ()
        wanted = Request(id=id_, capacity_type="spot", zone=world.zones[0], count=1)
        other = await world.provider.launch(wanted)
        assert ours.isdisjoint(one.id for one in other.machines)
        await world.provider.terminate([one.id for one in other.machines])
    assert set(await machines(world.provider)) == ours


async def test_no_machine_to_terminate_is_no_fault(world: World) -> None:
    done = await world.provider.terminate([])
    assert (done.ids, done.faults) == ((), ())


async def test_a_machine_that_vanishes_is_not_alive(world: World) -> None:
    granted = await launch(world, 2)
    gone, stays = granted.machines
    await world.vanish(gone)
    assert set(await machines(world.provider)) == {stays.id}


async def test_one_that_ended_says_so_or_is_not_listed(world: World) -> None:
    granted = await launch(world)
    await world.vanish(granted.machines[0])
    listed = await world.provider.list()
    assert not isinstance(listed, Fault)
    for one in listed:
        assert one.state == "ended"
        assert one.end is not None


async def test_a_zone_that_is_sold_out_says_so_and_the_others_sell(world: World) -> None:
    world.sell_out(world.zones[0])
    none = await launch(world, 2)
    assert none.machines == ()
    assert none.shortfall is not None
    assert (none.shortfall.kind, none.shortfall.zone) == ("no_capacity", world.zones[0])
    some = await launch(world, 2, zone=1)
    assert len(some.machines) == 2
    assert len(await machines(world.provider)) == 2


async def test_a_launch_in_a_zone_that_is_not_the_pools_is_refused(world: World) -> None:
    granted = await world.provider.launch(request("nowhere"))
    assert granted.machines == ()
    assert granted.shortfall is not None
    assert (granted.shortfall.kind, granted.shortfall.zone) == ("refused", "nowhere")
    assert not await machines(world.provider)


@pytest.mark.parametrize("count", [0, -1, -1000])
async def test_a_launch_of_no_machine_is_refused(world: World, count: int) -> None:
    granted = await launch(world, count)
    assert granted.machines == ()
    assert [one.kind for one in granted.faults] == ["refused"]
    assert not await machines(world.provider)
