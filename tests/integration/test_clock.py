"""The server's clock, on nodes whose own is wrong."""

import time

import pytest

from fleet.broker.clock import ServerClock
from fleet.broker.connection import Connection
from fleet.subjects import RESULTS

real_time = time.time


@pytest.fixture(params=[3600.0, -3600.0])
def wrong(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """Set this process's clock wrong by so many seconds."""
    shift_s = float(request.param)
    monkeypatch.setattr(time, "time", lambda: real_time() + shift_s)
    return shift_s


async def test_a_node_whose_clock_is_wrong_knows_the_time_by_the_server(
    provisioned: Connection, wrong: float
) -> None:
    clock = ServerClock(provisioned, RESULTS)
    assert abs(clock.told() - real_time() - wrong) < 60
    await clock.look()
    assert abs(clock.told() - real_time()) < 60
    assert abs(await clock.now() - real_time()) < 60


async def test_a_clock_that_jumps_later_changes_nothing(
    provisioned: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ServerClock(provisioned, RESULTS)
    await clock.look()
    monkeypatch.setattr(time, "time", lambda: real_time() + 3600)
    assert abs(clock.told() - real_time()) < 60


async def test_a_server_that_does_not_tell_leaves_the_clock_as_it_was(
    provisioned: Connection,
) -> None:
    clock = ServerClock(provisioned, "NO_SUCH_STREAM")
    await clock.look()
    assert abs(clock.told() - real_time()) < 60
