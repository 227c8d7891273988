"""Real consumers as machines of a pool, a market that takes them away, and one that hangs."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from fleet.broker.nodes import Nodes
from fleet.broker.provision import provision
from fleet.pool.local import LocalPool, Plan
from fleet.pool.local_provider import Local
from fleet.pool.matching import drained, match, members, reclaimed, victims
from fleet.pool.provider import Fault, Machine, Request
from fleet.pool.reaper import Patience, Reaper
from fleet.pool.snapshot import Member
from tests.integration.brokers import connected

BOUND_S = 60.0
QUICK = {"FLEET_BEAT_S": "0.4", "FLEET_BEAT_TTL_S": "3", "FLEET_CLOUD": "none"}


class World(NamedTuple):
    pool: LocalPool
    local: Local
    nodes: Nodes
    model: str

    async def launch(self, count: int, zone: str = "a") -> tuple[Machine, ...]:
        wanted = Request(id=f"l-{zone}-{count}", capacity_type="spot", zone=zone, count=count)
        granted = await self.local.launch(wanted)
        assert granted.shortfall is None
        return granted.machines

    async def machines(self) -> tuple[Machine, ...]:
        listed = await self.local.list()
        assert not isinstance(listed, Fault)
        return listed

    async def members(self) -> tuple[Member, ...]:
        return members(await self.machines(), await self.nodes.list())

    async def until(self, holds: Callable[[tuple[Member, ...]], bool]) -> tuple[Member, ...]:
        """Wait until something holds of all members."""
        async with asyncio.timeout(BOUND_S):
            while True:
                if holds(seen := await self.members()):
                    return seen
                await asyncio.sleep(0.1)

    async def ready(self, count: int) -> tuple[Member, ...]:
        return await self.until(lambda seen: [one.phase for one in seen] == ["ready"] * count)


@pytest.fixture
async def world(nats_url: str, unique: str, tmp_path: Path) -> AsyncIterator[World]:
    async with connected(nats_url) as connection:
        await provision(connection, [unique])
        plan = Plan(nats=nats_url, model=unique, engine="scripted", logs=tmp_path, tag=f"{unique}-")
        pool = LocalPool(plan, {**os.environ, **QUICK})
        try:
            yield World(pool, Local(pool, ("a", "b")), Nodes(connection), unique)
        finally:
            pool.kill_all()
            await pool.stop(wait_s=10.0)


async def test_a_zone_is_taken_away_and_comes_back(world: World) -> None:
    await world.launch(2)
    await world.launch(1, "b")
    seen = await world.ready(3)
    assert all(one.idle for one in seen)
    before = await world.machines()

    await world.local.take_away("a")
    refused = await world.local.launch(Request(id="x", capacity_type="spot", zone="a", count=1))
    assert refused.shortfall is not None
    assert refused.shortfall.kind == "no_capacity"
    [stays] = await world.ready(1)
    assert stays.zone == "b"
    [lost] = reclaimed(before, await world.machines(), time.time())
    assert (lost.zone, lost.count) == ("a", 2)

    world.local.give_back("a")
    await world.launch(1, "a")
    assert {one.zone for one in await world.ready(2)} == {"a", "b"}


async def test_whoever_is_given_back_ends_as_terminated_and_not_as_reclaimed(world: World) -> None:
    [machine] = await world.launch(1)
    await world.ready(1)
    before = await world.machines()
    chosen = victims(before, await world.nodes.list(), capacity_type="spot", zone="a", count=1)
    assert (chosen.end, chosen.drain) == ((), (machine.node,))
    await world.local.terminate([machine.id])
    await world.until(lambda seen: not seen)
    [ended] = await world.machines()
    assert (ended.state, ended.end) == ("ended", "terminated")
    assert ended.ended_at is not None
    assert reclaimed(before, (ended,), time.time()) == ()
    assert drained((ended,), await world.nodes.list()) == ()


async def test_a_consumer_that_hangs_is_found_and_ended(world: World) -> None:
    machine, other = await world.launch(2)
    await world.ready(2)
    os.kill(world.pool.nodes[machine.id].pid, signal.SIGSTOP)
    reaper = Reaper(Patience(start_s=600.0, silent_s=3.0))

    async with asyncio.timeout(BOUND_S):
        while True:
            machines = await world.machines()
            heard = match(machines, await world.nodes.list())
            if leaks := reaper.look(machines, heard.keys(), time.monotonic()):
                break
            await asyncio.sleep(0.1)
    assert [leak.id for leak in leaks] == [machine.id]
    assert other.id in heard


async def test_who_does_not_go_in_time_is_killed(world: World) -> None:
    strict = Local(world.pool, ("a",), notice_s=0.0)
    granted = await strict.launch(Request(id="l", capacity_type="spot", zone="a", count=1))
    [machine] = granted.machines
    os.kill(world.pool.nodes[machine.id].pid, signal.SIGSTOP)
    await strict.terminate([machine.id])
    await strict.list()
    async with asyncio.timeout(BOUND_S):
        assert await world.pool.wait(machine.id) == -signal.SIGKILL
    listed = await strict.list()
    assert not isinstance(listed, Fault)
    [ended] = listed
    assert (ended.state, ended.end) == ("ended", "terminated")


async def test_a_consumer_that_cannot_start_has_failed(
    nats_url: str, unique: str, tmp_path: Path
) -> None:
    plan = Plan(nats=nats_url, model=unique, engine="nonsense", logs=tmp_path)
    pool = LocalPool(plan)
    local = Local(pool, ("a",))
    granted = await local.launch(Request(id="l", capacity_type="spot", zone="a", count=1))
    async with asyncio.timeout(BOUND_S):
        await pool.wait(granted.machines[0].id)
    listed = await local.list()
    assert not isinstance(listed, Fault)
    assert [(one.state, one.end) for one in listed] == [("ended", "failed")]
