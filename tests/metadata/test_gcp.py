"""Notices of GCP, whose server answers when something changes."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from tests.metadata.listening import QUICK, listening
from tests.metadata.stub import MAINTENANCE, PREEMPTED, Stub, serving

SLOW = msgspec.structs.replace(QUICK, hold_s=30.0)


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    async with serving("gcp") as stub:
        yield stub


async def test_a_preemption_is_heard_through_the_request_that_waits_for_it(stub: Stub) -> None:
    async with listening(stub, "gcp", pace=SLOW) as listener:
        await stub.until(PREEMPTED, 2)  # recognised, and read once
        await stub.until(PREEMPTED)
        asked = stub.asked[PREEMPTED]
        stub.values[PREEMPTED] = "TRUE"
        await stub.touch()
        notice = await listener.heard()
        assert stub.asked[PREEMPTED] == asked
    assert (notice.kind, notice.source) == ("terminate", "gcp")
    assert 29 < listener.left_s[0] <= 30


async def test_a_preemption_from_before_the_start_is_heard_at_once(stub: Stub) -> None:
    stub.values[PREEMPTED] = "TRUE"
    async with listening(stub, "gcp", pace=SLOW) as listener:
        await listener.heard()
    assert len(listener.notices) == 1


async def test_a_server_that_does_not_wait_is_polled_and_not_stormed(stub: Stub) -> None:
    stub.waits_for_change = False
    pace = msgspec.structs.replace(QUICK, poll_s=0.2)
    async with listening(stub, "gcp", pace=pace) as listener:
        await stub.until(MAINTENANCE)
        before = stub.asked[PREEMPTED]
        await stub.until(MAINTENANCE, 2)
        assert stub.asked[PREEMPTED] - before <= 3
        stub.values[PREEMPTED] = "TRUE"
        await listener.heard()


@pytest.mark.parametrize("value", ["NONE", "MIGRATE_ON_HOST_MAINTENANCE"])
async def test_a_live_migration_is_no_notice(stub: Stub, value: str) -> None:
    stub.values[MAINTENANCE] = value
    async with listening(stub, "gcp") as listener:
        await stub.until(MAINTENANCE, 2)
    assert listener.notices == []


async def test_a_maintenance_that_terminates_is_a_notice_and_may_be_called_off(stub: Stub) -> None:
    async with listening(stub, "gcp") as listener:
        for number, (value, kind) in enumerate(
            [("TERMINATE_ON_HOST_MAINTENANCE", "terminate"), ("NONE", "withdrawn")] * 2, start=1
        ):
            stub.values[MAINTENANCE] = value
            await stub.touch()
            assert (await listener.heard(number)).kind == kind


@pytest.mark.parametrize("value", ["", "<html>", "TERMINATED?"])
async def test_a_maintenance_is_not_called_off_by_rubbish_but_by_word_of_it(
    stub: Stub, value: str
) -> None:
    async with listening(stub, "gcp") as listener:
        stub.values[MAINTENANCE] = "TERMINATE_ON_HOST_MAINTENANCE"
        await stub.touch()
        await listener.heard()
        stub.values[MAINTENANCE] = value
        await stub.touch()
        await stub.until(MAINTENANCE, 2)
        assert [notice.kind for notice in listener.notices] == ["terminate"]
        stub.values[MAINTENANCE] = "NONE"
        await stub.touch()
        assert (await listener.heard(2)).kind == "withdrawn"


async def test_a_preemption_is_not_called_off_by_the_end_of_a_maintenance(stub: Stub) -> None:
    stub.values |= {MAINTENANCE: "TERMINATE_ON_HOST_MAINTENANCE", PREEMPTED: "TRUE"}
    async with listening(stub, "gcp") as listener:
        await listener.heard()
        await stub.until(MAINTENANCE)
        stub.values[MAINTENANCE] = "NONE"
        await stub.touch()
        await stub.until(MAINTENANCE, 2)
    assert {notice.kind for notice in listener.notices} == {"terminate"}


async def test_a_server_that_restarts_while_it_is_waited_for_is_asked_again(stub: Stub) -> None:
    async with listening(stub, "gcp") as listener:
        await stub.until(PREEMPTED)
        stub.status = 503
        await stub.touch()
        await stub.until(PREEMPTED, 2)
        stub.status = None
        stub.values[PREEMPTED] = "TRUE"
        await listener.heard()
