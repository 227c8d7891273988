"""What stands beside the items of a job: saving, watching, settling."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from consumers.drain import Drain
from consumers.halt import Halt
from consumers.keeper import RETRY_S, Keeper
from consumers.meter import Totals
from consumers.outcome import (
    CANCELLED,
    EXPIRED,
    Complete,
    Ended,
    Failed,
    Interrupted,
    Lost,
    Outcome,
)
from consumers.work import Work
from fleet.errors import BrokerUnreachable, EngineDead, LeaseLost
from fleet.job import WireError
from fleet.notice import Notice
from fleet.settings import Settings
from tests.asking import chat
from tests.fakes import ME, FakeCancelled, FakeClaims, FakeLog, Fate, job_of, line_of

BOUND_S = 5.0
T = TypeVar("T")


class Desk:
    """A keeper with a job of `items` items in hand."""

    def __init__(self, items: int = 4, *, checkpoint_s: float = 60.0, batch: int = 100) -> None:
        self.log, self.claims = FakeLog(), FakeClaims()
        self.drain = Drain(grace_s=0.0)
        self.halt = Halt()
        self.totals = Totals()
        self.cancelled = FakeCancelled()
        self.job = job_of(*(chat(f"p{n}") for n in range(items)))
        self.work = Work(self.job, done=frozenset(), last=0)
        self.keeper = Keeper(
            me=ME,
            settings=Settings(checkpoint_s=checkpoint_s, checkpoint_items=batch),
            results=self.log,
            claims=self.claims,
            drain=self.drain,
            halt=self.halt,
            is_cancelled=self.cancelled,
            totals=self.totals,
        )

    def finish(self, *items: int) -> None:
        for item in items:
            self.work.finish(line_of(self.job, item))

    async def keep(self, *, deadline: float | None = None) -> Outcome:
        return await bounded(self.keeper.keep(self.work, deadline=deadline))


async def bounded(work: Coroutine[Any, Any, T]) -> T:
    async with asyncio.timeout(BOUND_S):
        return await work


async def test_a_job_whose_items_are_finished_is_complete() -> None:
    desk = Desk(2)
    async with asyncio.TaskGroup() as group:
        kept = group.create_task(desk.keep())
        await asyncio.sleep(0)
        desk.finish(1, 0)
    assert kept.result() == Complete()
    await bounded(desk.keeper.settle(desk.work))
    assert desk.log.items == [1, 0]
    assert desk.totals.items_done == 2


async def test_lines_go_out_as_soon_as_there_are_enough_of_them() -> None:
    desk = Desk(4, batch=2)
    async with asyncio.TaskGroup() as group:
        kept = group.create_task(desk.keep())
        desk.finish(3, 1)
        await bounded(desk.log.wrote.wait())
        assert desk.log.items == [3, 1]
        assert desk.claims.saved == []
        desk.finish(0, 2)
    assert kept.result() == Complete()


async def test_every_checkpoint_writes_lines_and_then_the_claim() -> None:
    desk = Desk(2, checkpoint_s=0.02)
    async with asyncio.TaskGroup() as group:
        kept = group.create_task(desk.keep())
        desk.finish(0)
        for _ in range(3):
            desk.claims.wrote.clear()
            await bounded(desk.claims.wrote.wait())
        desk.finish(1)
    assert kept.result() == Complete()
    assert desk.log.items == [0]
    assert len(desk.claims.saved) >= 3
    assert {claim.owner for claim in desk.claims.saved} == {"me"}
    # What existed when this owner began, so that the next one sees what it added.
    assert {claim.progress for claim in desk.claims.saved} == {0}


async def test_a_stranger_in_the_log_means_that_the_job_is_lost() -> None:
    desk = Desk(2, batch=1)
    desk.log.stranger_writes()
    desk.finish(0)
    assert isinstance(await desk.keep(), Lost)
    assert desk.log.items == []


async def test_a_stranger_in_the_claim_means_that_the_job_is_lost() -> None:
    desk = Desk(2, checkpoint_s=0.01)
    desk.claims.stranger_writes()
    assert isinstance(await desk.keep(), Lost)


@pytest.mark.parametrize("fate", ["unsent", "stored", "half"])
async def test_an_append_without_an_answer_is_made_good_and_doubles_nothing(fate: Fate) -> None:
    desk = Desk(4)
    desk.log.fates = [fate]
    desk.finish(0, 1, 2, 3)
    await bounded(desk.keeper.settle(desk.work))
    assert desk.log.items == [0, 1, 2, 3]
    assert desk.work.last == len(desk.log.messages)
    assert desk.totals.items_done == 4


async def test_lines_that_finish_after_an_unclear_append_go_out_once() -> None:
    desk = Desk(4, batch=2)
    desk.log.fates = ["half", "stored", "unsent"]
    async with asyncio.TaskGroup() as group:
        kept = group.create_task(desk.keep())
        desk.finish(0, 1)
        await bounded(desk.log.wrote.wait())
        desk.finish(2)
        await asyncio.sleep(2 * RETRY_S)
        desk.finish(3)
    assert kept.result() == Complete()
    await bounded(desk.keeper.settle(desk.work))
    assert sorted(desk.log.items) == [0, 1, 2, 3]


async def test_a_stranger_after_an_unclear_append_is_no_write_of_ours() -> None:
    desk = Desk(2)
    desk.finish(0, 1)
    desk.log.fates = ["stored"]
    with pytest.raises(ExceptionGroup) as lost:
        async with asyncio.TaskGroup() as group:
            group.create_task(desk.keeper.release(desk.work))
            await bounded(desk.log.wrote.wait())
            desk.log.stranger_writes()
    assert lost.group_contains(LeaseLost)
    assert desk.log.items == [0, 1]
    assert desk.claims.saved == []


@pytest.mark.parametrize("fate", ["unsent", "stored"])
async def test_a_checkpoint_without_an_answer_is_followed_by_the_next(fate: Fate) -> None:
    desk = Desk(1, checkpoint_s=0.01)
    desk.claims.fates = [fate]
    async with asyncio.TaskGroup() as group:
        kept = group.create_task(desk.keep())
        for _ in range(2):
            await bounded(desk.claims.wrote.wait())
            desk.claims.wrote.clear()
        desk.finish(0)
    assert kept.result() == Complete()
    await desk.keeper.forget(desk.job, desk.work.revision)
    assert desk.claims.revision == 0


async def test_a_notice_interrupts_at_once_and_the_release_saves_what_is_there() -> None:
    desk = Desk(3)
    async with asyncio.TaskGroup() as group:
        kept = group.create_task(desk.keep())
        desk.finish(2)
        await asyncio.sleep(0)
        desk.drain.hear(Notice(kind="terminate", source="signal"))
    assert kept.result() == Interrupted()
    await desk.keeper.release(desk.work)
    assert desk.log.items == [2]
    assert [claim.owner for claim in desk.claims.saved] == [None]


@pytest.mark.parametrize("what", ["engine died", "notice", "cancelled"])
async def test_what_happened_before_a_job_began_ends_it_at_once_as_well(what: str) -> None:
    desk = Desk(1, checkpoint_s=3600)
    match what:
        case "engine died":
            desk.halt.begin(EngineDead("gone"))
        case "notice":
            desk.drain.hear(Notice(kind="terminate", source="aws", deadline=time.monotonic() + 100))
        case _:
            desk.cancelled.cancel()
    ended = Ended(CANCELLED) if what == "cancelled" else Interrupted()
    assert await desk.keep() == ended


async def test_a_job_whose_items_failed_is_tried_later_although_the_node_goes() -> None:
    desk = Desk(1)
    error = WireError(code="failed", message="may pass")
    desk.work.fail(desk.work.open[0], error)
    desk.drain.hear(Notice(kind="terminate", source="signal"))
    assert await desk.keep() == Failed(error)


async def test_a_job_that_is_complete_at_the_notice_is_settled() -> None:
    desk = Desk(1)
    desk.finish(0)
    desk.drain.hear(Notice(kind="terminate", source="signal"))
    assert await desk.keep() == Complete()


async def test_settling_goes_on_without_a_broker_until_the_node_must_go() -> None:
    desk = Desk(1)
    desk.finish(0)
    desk.log.fates = ["unsent"] * 3
    desk.drain.hear(Notice(kind="terminate", source="signal"))
    with pytest.raises(BrokerUnreachable):
        await bounded(desk.keeper.settle(desk.work))
    assert desk.log.fates == ["unsent"] * 2


async def test_the_deadline_ends_a_job() -> None:
    assert await Desk(1).keep(deadline=time.time() + 0.02) == Ended(EXPIRED)


async def test_a_cancelled_job_ends_at_once_however_long_its_checkpoint_takes() -> None:
    desk = Desk(1, checkpoint_s=3600)
    async with asyncio.TaskGroup() as group:
        kept = group.create_task(desk.keep())
        await asyncio.sleep(0)
        desk.cancelled.cancel()
    assert kept.result() == Ended(CANCELLED)


async def test_handing_over_is_tried_again_while_there_is_time() -> None:
    desk = Desk(2)
    desk.finish(1)
    desk.log.fates, desk.claims.fates = ["stored"], ["unsent", "stored"]
    desk.halt.begin(EngineDead("gone"))
    await bounded(desk.keeper.release(desk.work))
    assert desk.log.items == [1]
    assert desk.claims.saved[-1].owner is None


async def test_handing_over_is_not_tried_again_when_the_node_must_go() -> None:
    desk = Desk(1)
    desk.claims.fates = ["unsent"] * 2
    desk.drain.hear(Notice(kind="terminate", source="signal"))
    with pytest.raises(BrokerUnreachable):
        await bounded(desk.keeper.release(desk.work))
    assert desk.claims.fates == ["unsent"]


async def test_time_counts_as_safe_only_after_the_write_that_makes_it_so() -> None:
    desk = Desk(1)
    (run,) = desk.work.open
    run.share.begin(desk.totals.clock)
    desk.log.fates = ["unsent"]
    run.share.end()
    desk.finish(0)
    async with asyncio.TaskGroup() as group:
        group.create_task(bounded(desk.keeper.settle(desk.work)))
        await bounded(desk.log.wrote.wait())
        assert desk.totals.records(at=1, node="me", model="m") == []
    (record,) = desk.totals.records(at=1, node="me", model="m")
    assert record.engine_s == round(run.share.used_s, 6)
