"""Belts around a provider: caps, and a list that lags behind."""

import asyncio
import itertools

import pytest

from fleet.pool.guard import BLIND_S, SETTLED_S, Guard, Limits
from fleet.pool.provider import Fault, Granted, Machine, Request
from fleet.pool.simcloud import Fate, SimCloud, SimZone

_ids = itertools.count()


class Clock:
    """Seconds, by hand."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def make(limits: Limits | None = None, *, list_s: float = 0.0) -> tuple[Guard, SimCloud, Clock]:
    clock = Clock()
    cloud = SimCloud([SimZone(name="a"), SimZone(name="b")], now=clock, list_s=list_s)
    return Guard(cloud, limits, clock=clock), cloud, clock


async def launch(guard: Guard, count: int = 1) -> Granted:
    wanted = Request(id=f"l{next(_ids)}", capacity_type="spot", zone="a", count=count)
    return await guard.launch(wanted)


async def alive(guard: Guard) -> list[Machine]:
    listed = await guard.list()
    assert not isinstance(listed, Fault)
    return [one for one in listed if one.alive]


async def test_one_request_is_cut_to_the_cap_and_says_so() -> None:
    guard, _, _ = make(Limits(per_call=20, machines=1000))
    granted = await launch(guard, 500)
    assert len(granted.machines) == 20
    assert granted.shortfall is not None
    assert granted.shortfall.kind == "capped"
    assert "500" in granted.shortfall.text


async def test_a_policy_gone_mad_ends_at_the_pools_limit() -> None:
    guard, _, _ = make(Limits(per_call=20, machines=50))
    for _ in range(100):
        await launch(guard, 20)
    assert len(await alive(guard)) == 50
    assert (await launch(guard)).machines == ()


async def test_it_ends_there_too_when_the_list_shows_nothing_yet() -> None:
    guard, _, clock = make(Limits(per_call=20, machines=50), list_s=1e9)
    for _ in range(100):
        await launch(guard, 20)
        await guard.list()
        clock.at += 0.1
    assert len(await alive(guard)) == 50


async def test_launches_at_the_same_time_share_the_limit() -> None:
    guard = Guard(Slow([SimZone(name="a")], now=Clock()), Limits(per_call=20, machines=50))
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(launch(guard, 20))
    assert len(await alive(guard)) == 50


async def test_machines_of_before_count_for_the_limit() -> None:
    guard, cloud, clock = make(Limits(machines=10))
    await launch(guard, 10)
    successor = Guard(cloud, Limits(machines=10), clock=clock)
    assert [one.kind for one in (await launch(successor)).faults] == ["capped"]


async def test_what_ended_makes_room() -> None:
    guard, _, _ = make(Limits(machines=3))
    granted = await launch(guard, 3)
    await guard.terminate([granted.machines[0].id])
    assert len((await launch(guard, 3)).machines) == 1


async def test_who_cannot_list_launches_nothing() -> None:
    guard, cloud, _ = make()
    cloud.fates = ["unreachable"]
    granted = await launch(guard)
    assert [one.kind for one in granted.faults] == ["unreachable"]
    assert cloud.calls == ["list"]


async def test_a_list_that_fails_is_a_fault_and_not_an_empty_pool() -> None:
    guard, cloud, _ = make()
    await launch(guard)
    cloud.fates = ["throttled"]
    assert isinstance(await guard.list(), Fault)
    assert len(await alive(guard)) == 1


async def test_a_machine_that_the_list_does_not_show_yet_is_there() -> None:
    guard, _, clock = make(list_s=60.0)
    granted = await launch(guard, 2)
    assert {one.id for one in await alive(guard)} == {one.id for one in granted.machines}
    clock.at += 61.0
    assert len(await alive(guard)) == 2


async def test_machines_that_are_never_listed_stop_all_launches_until_somebody_looked() -> None:
    guard, _, clock = make(list_s=1e9)
    lost = (await launch(guard, 2)).machines
    clock.at += SETTLED_S
    assert await alive(guard) == []
    refused = await launch(guard)
    assert refused.machines == ()
    assert refused.shortfall is not None
    assert refused.shortfall.kind == "capped"
    assert lost[0].id in refused.shortfall.text
    clock.at += BLIND_S
    await guard.list()
    assert len((await launch(guard)).machines) == 1


async def test_a_machine_that_ended_and_is_listed_as_alive_is_on_its_way_out() -> None:
    clock = Clock()
    shown = Machine(
        id="m", node="m", capacity_type="spot", zone="a", instance_type="t", state="running",
        started_at=0.0,
    )  # fmt: skip
    guard = Guard(Stubborn(shown), clock=clock)
    await guard.terminate(["m"])
    assert [one.state for one in await every(guard)] == ["stopping"]
    clock.at += SETTLED_S
    assert [one.state for one in await every(guard)] == ["running"]


@pytest.mark.parametrize("fate", ["no_capacity", "quota", "throttled", "refused", "unheard"])
async def test_a_fault_of_the_cloud_comes_through(fate: Fate) -> None:
    guard, cloud, _ = make()
    await guard.list()
    cloud.fates = [fate]
    granted = await launch(guard)
    assert granted.machines == ()
    assert granted.shortfall is not None
    assert granted.shortfall.code == fate


class Slow(SimCloud):
    """Lets others have a turn before a launch is done."""

    async def launch(self, request: Request) -> Granted:
        for _ in range(20):
            await asyncio.sleep(0)
        return await super().launch(request)


class Stubborn(SimCloud):
    """Shows one machine as alive, whatever is done to it."""

    def __init__(self, machine: Machine) -> None:
        super().__init__([], now=lambda: 0.0)
        self._machine = machine

    async def list(self) -> tuple[Machine, ...] | Fault:
        return (self._machine,)


async def every(guard: Guard) -> tuple[Machine, ...]:
    listed = await guard.list()
    assert not isinstance(listed, Fault)
    return listed


async def test_a_launch_that_was_given_up_may_have_been_done() -> None:
    guard, cloud, _ = make(Limits(per_call=20, machines=20))
    launched = cloud.launch

    async def unheard(request: Request) -> Granted:
        await launched(request)
        raise TimeoutError

    cloud.launch = unheard  # type: ignore[method-assign]
    with pytest.raises(TimeoutError):
        await launch(guard, 15)
    cloud.launch = launched  # type: ignore[method-assign]
    assert len((await launch(guard, 15)).machines) == 5
