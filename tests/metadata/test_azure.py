"""Notices of Azure, which tells a whole scale set of every machine's end."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from consumers.drain import Drain
from tests.metadata.listening import QUICK, listening
from tests.metadata.stub import EVENTS, NAME, Stub, serving


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    async with serving("azure") as stub:
        yield stub


async def test_a_preemption_of_this_machine_leaves_the_time_that_it_says(stub: Stub) -> None:
    async with listening(stub, "azure") as listener:
        await stub.until(EVENTS)
        stub.schedules("Preempt", left_s=30)
        notice = await listener.heard()
        await stub.until(EVENTS, 2)
    assert (notice.kind, notice.source) == ("terminate", "azure")
    assert 15 < listener.left_s[0] <= 31
    assert len(listener.notices) == 1


async def test_a_preemption_of_another_machine_of_the_set_is_not_ours(stub: Stub) -> None:
    stub.schedules("Preempt", "scale-set_8", "scale-set_77")
    async with listening(stub, "azure") as listener:
        await stub.until(EVENTS, 3)
        assert listener.notices == []
        stub.schedules("Preempt", "scale-set_8", stub.machine.upper(), id_="e2")
        await listener.heard()


@pytest.mark.parametrize("kind", ["Reboot", "Redeploy", "Freeze", "Later"])
async def test_what_the_machine_outlives_is_no_notice(stub: Stub, kind: str) -> None:
    stub.schedules(kind)
    async with listening(stub, "azure") as listener:
        await stub.until(EVENTS, 3)
    assert listener.notices == []


async def test_a_started_event_leaves_nothing(stub: Stub) -> None:
    stub.schedules("Preempt", left_s=30)
    async with listening(stub, "azure") as listener:
        await listener.heard()
        stub.events[0] |= {"EventStatus": "Started", "NotBefore": ""}
        await listener.heard(2)
    assert listener.left_s[1] <= 0


@pytest.mark.parametrize("time", ["", "tomorrow", None])
async def test_a_time_that_is_none_leaves_the_least_that_azure_promises(
    stub: Stub, time: str | None
) -> None:
    stub.schedules("Preempt")
    stub.events[0]["NotBefore"] = time
    async with listening(stub, "azure") as listener:
        await listener.heard()
    assert 29 < listener.left_s[0] <= 30


async def test_an_event_that_is_gone_before_its_time_was_withdrawn(stub: Stub) -> None:
    drain = Drain(grace_s=0)
    async with listening(stub, "azure") as listener:
        for number in (1, 3):
            stub.schedules("Preempt", left_s=60)
            assert drain.hear(await listener.heard(number))
            assert drain.begun.is_set()
            stub.events.clear()
            assert (await listener.heard(number + 1)).kind == "withdrawn"
            assert drain.hear(listener.notices[-1])
            assert not drain.begun.is_set()


async def test_one_of_two_events_that_is_gone_withdraws_nothing(stub: Stub) -> None:
    stub.schedules("Preempt", left_s=60)
    stub.schedules("Terminate", left_s=50, id_="e2")
    async with listening(stub, "azure") as listener:
        await listener.heard()
        stub.events.pop(0)
        await stub.until(EVENTS, 3)
    assert {notice.kind for notice in listener.notices} == {"terminate"}


async def test_an_event_that_is_gone_after_its_time_is_over_and_not_withdrawn(stub: Stub) -> None:
    stub.schedules("Preempt", left_s=-5)
    async with listening(stub, "azure") as listener:
        await listener.heard()
        stub.events.clear()
        await stub.until(EVENTS, 3)
    assert [notice.kind for notice in listener.notices] == ["terminate"]


async def test_a_failing_service_withdraws_nothing(stub: Stub) -> None:
    stub.schedules("Preempt", left_s=60)
    async with listening(stub, "azure") as listener:
        await listener.heard()
        stub.status = 503
        await stub.until(EVENTS, 2)
        stub.status = None
        stub.raw[EVENTS] = b"<html>"
        await stub.until(EVENTS, 2)
    assert [notice.kind for notice in listener.notices] == ["terminate"]


@pytest.mark.parametrize("flaw", [{"EventId": 5}, {"NotBefore": "Mon, 19 Sep 2016 18:29:47 GMT"}])
async def test_an_event_that_can_be_read_no_more_was_not_withdrawn(
    stub: Stub, flaw: dict[str, object]
) -> None:
    stub.schedules("Preempt", left_s=60)
    async with listening(stub, "azure") as listener:
        await listener.heard()
        sound = dict(stub.events[0])
        stub.events[0] |= flaw
        await stub.until(EVENTS, 3)
        assert [notice.kind for notice in listener.notices] == ["terminate"]
        stub.events[0] = sound
        await stub.until(EVENTS, 2)
        stub.events.clear()
        assert (await listener.heard(2)).kind == "withdrawn"


async def test_the_first_answer_may_take_minutes(stub: Stub) -> None:
    stub.hangs = {EVENTS}
    pace = msgspec.structs.replace(QUICK, answer_s=0.2, first_s=60.0, poll_s=60.0)
    async with listening(stub, "azure", pace=pace) as listener:
        await stub.until(EVENTS)
        stub.schedules("Preempt")
        await asyncio.sleep(2 * pace.answer_s)  # an answer to any other question would be too late
        stub.hangs = set()
        stub.over.set()  # lets go of what hangs
        await listener.heard()
    assert stub.asked[EVENTS] == 1


async def test_without_its_own_name_a_machine_takes_no_event_for_its_own(stub: Stub) -> None:
    stub.raw[NAME] = b"\xff\xfe"
    stub.schedules("Preempt")
    async with listening(stub, "azure") as listener:
        await stub.until(NAME, 3)
        assert stub.asked[EVENTS] == 0
        del stub.raw[NAME]
        await listener.heard()
