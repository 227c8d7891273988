"""Who of two managers leads, at a real broker."""

import asyncio
from typing import Any

import pytest

from fleet.broker.connection import Connection
from fleet.errors import BrokerUnreachable
from fleet.pool.leader import Leader, lease_key
from fleet.subjects import POLICY
from fleet.topology import bucket_subject
from tests.asking import eventually

TTL_S = 1.0


class Clock:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_one_leads_and_the_other_stands_by(provisioned: Connection, unique: str) -> None:
    one, other = (Leader(provisioned, unique, by=name) for name in ("one", "other"))
    assert await one.look()
    assert not await other.look()
    assert await one.look()
    assert (one.leads, other.leads) == (True, False)
    holder = await other.holder()
    assert holder is not None
    assert holder.by == "one"


async def test_of_many_that_try_at_once_one_leads(provisioned: Connection, unique: str) -> None:
    leaders = [Leader(provisioned, unique, by=f"n{n}") for n in range(8)]
    for _ in range(3):
        async with asyncio.TaskGroup() as group:
            for leader in leaders:
                group.create_task(leader.look())
        assert sum(leader.leads for leader in leaders) == 1


async def test_who_gives_up_is_followed_at_once(provisioned: Connection, unique: str) -> None:
    one, other = (Leader(provisioned, unique, by=name) for name in ("one", "other"))
    await one.look()
    await one.give_up()
    assert not one.leads
    assert await other.look()


async def test_who_falls_silent_stops_to_believe_before_another_may_lead(
    provisioned: Connection, unique: str, clock: Clock
) -> None:
    one = Leader(provisioned, unique, by="one", ttl_s=TTL_S, clock=clock)
    # Once it leads it goes on leading, however long the test takes.
    other = Leader(provisioned, unique, by="other", ttl_s=60.0)
    await one.look()
    clock.at += TTL_S * 0.79
    assert one.leads
    clock.at += TTL_S * 0.02
    assert not one.leads

    async def follows() -> bool:
        return await other.look()

    await eventually(follows, "the lease to run out")
    # It comes back, and finds another one at its place.
    assert not await one.look()
    assert other.leads


async def test_a_renewal_whose_answer_was_lost_makes_nobody_surer(
    provisioned: Connection, unique: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = Leader(provisioned, unique, by="one", ttl_s=10.0, clock=clock)
    await leader.look()
    with monkeypatch.context() as lost:
        append = Connection.append

        async def unheard(*args: Any, **more: Any) -> None:
            await append(*args, **more)
            raise BrokerUnreachable("the answer was lost")

        lost.setattr(Connection, "append", unheard)
        lost.setattr("fleet.broker.fenced.last_message", _silent)
        clock.at += 5
        assert await leader.look()
    clock.at += 3.1
    assert not leader.leads
    await leader.look()
    assert not leader.leads
    assert await leader.look()


async def test_a_lease_that_is_none_is_written_over(provisioned: Connection, unique: str) -> None:
    await provisioned.append(bucket_subject(POLICY, lease_key(unique)), b"nonsense {")
    leader = Leader(provisioned, unique, by="one")
    assert await leader.holder() is None
    assert not await leader.look()
    assert await leader.look()


async def _silent(*_: object) -> None:
    raise BrokerUnreachable("nobody answers")
