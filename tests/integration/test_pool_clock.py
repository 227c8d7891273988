"""By whose clock a pool is managed."""

import asyncio
import time

import pytest

from fleet.broker.connection import Connection
from fleet.pool.quotes import FlatQuotes
from fleet.pool.service import PoolPlan, clock_of, manage
from fleet.pool.switches import Switches
from tests.asking import eventually
from tests.integration.test_world import Hands

OFF_S = 86_400.0


async def test_a_manager_whose_clock_is_a_day_wrong_goes_by_the_brokers(
    provisioned: Connection, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + OFF_S)
    switches = Switches(provisioned, unique)
    async with asyncio.TaskGroup() as group:
        managing = group.create_task(
            manage(
                provisioned,
                PoolPlan(model=unique, provider="none", zones=("a",)),
                hands=Hands(),
                quotes=FlatQuotes(spot_usd=1.0, on_demand_usd=2.0),
                emit=lambda _: None,
                by="me",
                clock=clock_of(provisioned),
            )
        )
        standing = await eventually(switches.standing, "a word of the manager")
        managing.cancel()
    assert abs(standing.at - right()) < OFF_S / 2
