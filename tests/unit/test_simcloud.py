"""A cloud in this process."""

import pytest

from fleet.job import CapacityType
from fleet.pool.market import SpotHistory
from fleet.pool.provider import Fault, Granted, Machine, MachineState, Request
from fleet.pool.simcloud import Fate, SimCloud, SimZone


class World:
    """A cloud of two zones with three spot machines each, and a clock."""

    def __init__(self, **settings: float) -> None:
        self.at = 0.0
        zones = [SimZone(name=name, spot=3, on_demand=1) for name in "ab"]
        self.cloud = SimCloud(
            zones, now=lambda: self.at, start_s=60.0, notice_s=120.0,
            list_s=settings.get("list_s", 0.0),
        )  # fmt: skip
        self._launches = 0

    async def launch(
        self, count: int, zone: str = "a", capacity_type: CapacityType = "spot"
    ) -> Granted:
        self._launches += 1
        return await self.cloud.launch(
            Request(id=f"l{self._launches}", capacity_type=capacity_type, zone=zone, count=count)
        )

    async def machines(self) -> tuple[Machine, ...]:
        listed = await self.cloud.list()
        assert not isinstance(listed, Fault)
        return listed

    async def states(self) -> list[MachineState]:
        return [one.state for one in await self.machines()]


async def test_a_machine_takes_its_time_to_start() -> None:
    world = World()
    await world.launch(1)
    world.at = 59.0
    assert await world.states() == ["pending"]
    world.at = 60.0
    assert await world.states() == ["running"]


async def test_a_zone_sells_what_it_has_and_says_that_there_is_no_more() -> None:
    world = World()
    granted = await world.launch(5)
    assert len(granted.machines) == 3
    assert granted.shortfall is not None
    assert granted.shortfall.kind == "no_capacity"
    assert (await world.launch(1)).machines == ()
    assert len((await world.launch(3, "b")).machines) == 3
    assert len((await world.launch(2, "a", "on-demand")).machines) == 1


async def test_a_market_that_shrinks_gives_notice_to_the_youngest() -> None:
    world = World()
    await world.launch(3)
    told = world.cloud.offer(SimZone(name="a", spot=1))
    assert [one.id for one in told] == ["sim-3", "sim-2"]
    assert await world.states() == ["pending", "stopping", "stopping"]
    world.at = 120.0
    assert [(one.state, one.end) for one in await world.machines()] == [
        ("running", None),
        ("ended", "reclaimed"),
        ("ended", "reclaimed"),
    ]
    assert [one.ended_at for one in await world.machines()] == [None, 120.0, 120.0]


async def test_a_zone_sells_again_when_it_has_something_again() -> None:
    world = World()
    world.cloud.offer(SimZone(name="a", spot=0))
    assert (await world.launch(1)).machines == ()
    world.cloud.offer(SimZone(name="a", spot=2))
    assert len((await world.launch(5)).machines) == 2


async def test_the_list_may_lag_behind() -> None:
    world = World(list_s=30.0)
    await world.launch(1)
    assert await world.machines() == ()
    world.at = 30.0
    assert len(await world.machines()) == 1


@pytest.mark.parametrize("fate", ["no_capacity", "quota", "throttled", "unreachable", "refused"])
async def test_a_bad_day_is_over_after_one_call(fate: Fate) -> None:
    world = World()
    world.cloud.fates = [fate]
    granted = await world.launch(1)
    assert (granted.machines, [one.kind for one in granted.faults]) == ((), [fate])
    assert len((await world.launch(1)).machines) == 1
    assert len(await world.machines()) == 1


async def test_an_answer_that_is_lost_does_not_undo_what_was_done() -> None:
    world = World()
    world.cloud.fates = ["unheard"]
    granted = await world.launch(2)
    assert (granted.machines, [one.kind for one in granted.faults]) == ((), ["unreachable"])
    listed = await world.machines()
    assert len(listed) == 2
    world.cloud.fates = ["unheard"]
    done = await world.cloud.terminate([one.id for one in listed])
    assert done.ids == ()
    assert await world.states() == ["ended", "ended"]


async def test_the_bill_counts_every_second_at_the_price_of_its_time() -> None:
    world = World()
    await world.launch(2)
    await world.launch(1, "b", "on-demand")
    world.at = 3600.0
    assert world.cloud.bill_usd() == pytest.approx(2 * 1.0 + 2.5)
    world.cloud.offer(SimZone(name="a", spot=3, spot_usd=0.5))
    world.at = 7200.0
    assert world.cloud.bill_usd() == pytest.approx(2 * 1.0 + 2 * 0.5 + 2 * 2.5)
    await world.cloud.terminate([one.id for one in await world.machines()])
    world.at = 99_999.0
    assert world.cloud.bill_usd() == pytest.approx(2 * 1.0 + 2 * 0.5 + 2 * 2.5)


async def test_the_time_of_a_notice_is_paid_and_not_more() -> None:
    world = World()
    granted = await world.launch(1)
    world.at = 3480.0
    world.cloud.reclaim(granted.machines[0].id)
    world.at = 99_999.0
    assert world.cloud.bill_usd() == pytest.approx(1.0)


async def test_the_market_tells_its_prices_as_long_as_it_answers() -> None:
    world = World()
    world.at = 60.0
    world.cloud.offer(SimZone(name="a", spot_usd=0.4))
    heard = await world.cloud.history(["t"], ["a"])
    assert isinstance(heard, SpotHistory)
    assert [(one.at, one.usd_per_hour) for one in heard.prices] == [(0.0, 1.0), (60.0, 0.4)]
    assert [one.usd_per_hour for one in heard.current()] == [0.4]
    world.cloud.fates = ["throttled"]
    assert isinstance(await world.cloud.history(["t"]), Fault)
