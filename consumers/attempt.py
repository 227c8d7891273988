"""One job through the engine: its items beside each other or one by one, and how that ended."""

import asyncio
import time
from collections.abc import Callable

from consumers.drain_plan import Plan, plan
from consumers.gate import Gate
from consumers.halt import Halt
from consumers.keeper import IsCancelled, Keeper
from consumers.lease import Lease
from consumers.outcome import (
    CANCELLED,
    CONDEMNED,
    EXPIRED,
    Complete,
    Ended,
    Failed,
    Interrupted,
    Lost,
    Outcome,
)
from consumers.serve import Server
from consumers.settler import Settler
from consumers.work import ItemRun, Work
from fleet.broker.queue import Delivery
from fleet.claim import ATTEMPTS_MAX
from fleet.endings import deadline_of
from fleet.errors import EngineDead, LeaseLost
from fleet.job import Job


class Attempts:
    """Works on jobs that are ours, and settles each by its outcome.

    now: tells the time that deadlines are compared with, and that of publishing.
    """

    def __init__(
        self,
        *,
        server: Server,
        keeper: Keeper,
        settler: Settler,
        is_cancelled: IsCancelled,
        halt: Halt,
        gate: Gate,
        realtime_deadline_s: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._server = server
        self._keeper = keeper
        self._settler = settler
        self._is_cancelled = is_cancelled
        self._halt = halt
        self._gate = gate
        self._realtime_deadline_s = realtime_deadline_s
        self._now = now
        self._in_hand: set[Work] = set()

    def plan(self, save_in_s: float) -> Plan:
        """Predict how the items in hand end, if they may run for so many seconds more."""
        paces = [pace for work in self._in_hand for pace in work.paces]
        return plan(paces, save_in_s=save_in_s)

    async def work(self, lease: Lease, work: Work) -> None:
        """Work on the job beside others, or alone if it may be what kills consumers.

        Raises LeaseLost, BrokerUnreachable, BrokerRefused: somebody else has it, or will have.
        """
        if work.claim is not None and work.claim.isolated:
            async with self._gate.alone(self._must_go) as mine:
                await (self._work_on(lease, work) if mine else self._settler.release(lease, work))
        else:
            with self._gate.shared() as mine:
                await (self._work_on(lease, work) if mine else self._settler.release(lease, work))

    async def _work_on(self, lease: Lease, work: Work) -> None:
        """Work on the job and settle it by how that ended."""
        match await self._ended(work, lease.delivery):
            case Interrupted():
                await self._settler.release(lease, work)
                return
            case Failed(error=error) if work.attempts + 1 < ATTEMPTS_MAX:
                await self._settler.retry(lease, work, error)
                return
            case Failed(error=error):
                self._settler.count_failure(work)
                for run in work.open:
                    work.give_up(self._server.line(work, run, error=run.error or error))
            case Lost(reason=reason):
                raise LeaseLost(reason)
            case Ended(error=error):
                for run in work.open:
                    work.finish(self._server.line(work, run, error=error))
            case Complete():
                pass
        await self._settler.settle(lease, work)

    async def _ended(self, work: Work, delivery: Delivery) -> Outcome:
        """Run the job; a dead engine halts all of them, and interrupts this one."""
        self._in_hand.add(work)
        try:
            return await self._attempt(work, delivery)
        except EngineDead as error:
            self._halt.begin(error)
        except ExceptionGroup as group:
            # A plain `except`: what `except*` raises leaves it in a group that nobody knows.
            dead, others = group.split(EngineDead)
            if dead is None or others is not None:
                raise
            self._halt.begin(EngineDead(str(dead.exceptions[0])))
        finally:
            self._in_hand.discard(work)
        return Interrupted()

    async def _attempt(self, work: Work, delivery: Delivery) -> Outcome:
        """Run every open item at once, or one by one, and the keeper beside them."""
        deadline = self._deadline(delivery, work.job)
        if deadline is not None and deadline <= self._now():
            return Ended(EXPIRED)
        if await self._is_cancelled(work.job):
            return Ended(CANCELLED)
        condemned = work.claim.condemned if work.claim else frozenset()
        for run in work.open:
            if run.item.index in condemned:
                work.give_up(self._server.line(work, run, error=CONDEMNED))
        queue_s = max(0.0, self._now() - delivery.published_at)
        rendered = await self._server.render(work)
        one_by_one = work.claim is not None and work.claim.isolated

        async def serve(runs: list[ItemRun]) -> None:
            for run in runs:
                if one_by_one:
                    await work.mark(run)
                await self._server.serve(work, run, rendered.get(run.item.index), queue_s)

        async with asyncio.TaskGroup() as group:
            each = [work.open] if one_by_one else [[run] for run in work.open]
            tasks = [group.create_task(serve(runs)) for runs in each]
            outcome = await self._keeper.keep(work, deadline=deadline)
            for task in tasks:
                task.cancel()
        return outcome

    def _must_go(self) -> bool:
        return self._halt.begun.is_set() or self._keeper.drains

    def _deadline(self, delivery: Delivery, job: Job) -> float | None:
        return deadline_of(
            deadline=job.deadline,
            tier=job.tier,
            published_at=delivery.published_at,
            realtime_deadline_s=self._realtime_deadline_s,
        )
