"""One delivery, from decoding to settlement: claim, generate, checkpoint, append, ack."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from consumers.identity import Identity
from consumers.keeper import IsCancelled, Keeper
from consumers.lease import Lease, LeaseKeeper
from consumers.outcome import (
    CANCELLED,
    EXPIRED,
    SUSPECTED,
    Complete,
    Ended,
    Interrupted,
    Lost,
    Outcome,
)
from consumers.refuse import Refuser
from consumers.serve import Server
from consumers.work import Work, progress
from fleet.broker.claims import Claims
from fleet.broker.nodes import Nodes
from fleet.broker.queue import Delivery
from fleet.broker.results import LogState, ResultLog
from fleet.claim import (
    SUSPECTS_MAX,
    Claim,
    Conflict,
    Done,
    GiveBack,
    Start,
    TakeOver,
    decide,
    take_over,
)
from fleet.errors import BrokerRefused, BrokerUnreachable, EngineDead, LeaseLost
from fleet.events import Emit, JobLost, JobReleased, JobTakenOver
from fleet.job import Job, Tier
from fleet.settings import Settings


class Runner:
    """Runs deliveries; many at a time, each in a task of its caller's group."""

    def __init__(
        self,
        *,
        me: Identity,
        settings: Settings,
        server: Server,
        results: ResultLog,
        claims: Claims,
        nodes: Nodes,
        refuser: Refuser,
        keeper: Keeper,
        lease: LeaseKeeper,
        is_cancelled: IsCancelled,
        emit: Emit,
    ) -> None:
        self._me = me
        self._settings = settings
        self._server = server
        self._results = results
        self._claims = claims
        self._nodes = nodes
        self._refuser = refuser
        self._keeper = keeper
        self._lease = lease
        self._is_cancelled = is_cancelled
        self._emit = emit
        self._running: dict[tuple[str, str], Lease] = {}

    @property
    def jobs(self) -> int:
        """How many jobs are in hand."""
        return len(self._running)

    async def run(self, delivery: Delivery, job: Job, *, on_item: Callable[[], None]) -> None:
        """Work on one delivery until it is settled, released, or lost to another consumer.

        on_item: called for every item that is finished.
        """
        key = (job.tenant, job.id)
        if (lease := self._running.get(key)) is not None:
            with self._may_lose(job):
                await self._again(lease, delivery)
            return
        lease = self._running[key] = Lease(delivery)
        try:
            with self._may_lose(job), self._lease.hold(lease):
                await self._take(lease, job, on_item)
        finally:
            del self._running[key]

    async def _again(self, lease: Lease, delivery: Delivery) -> None:
        """Handle a delivery of a job that runs right here."""
        held = lease.delivery
        if (held.stream, held.sequence) == (delivery.stream, delivery.sequence):
            # The same message once more: its lease had lapsed. Go on under the new delivery.
            lease.delivery = delivery
        else:
            await delivery.nak(1.0)

    @contextmanager
    def _may_lose(self, job: Job) -> Iterator[None]:
        """Turn what takes the job from us, but not our life, into an event.

        Nothing is sent: a stale nak would deliver the job a third time. If it is not another
        consumer's, it comes again when its ack wait ends.
        """
        try:
            yield
        except (LeaseLost, BrokerUnreachable, BrokerRefused) as error:
            self._emit(
                JobLost(
                    at=time.time(),
                    node=self._me.node,
                    tenant=job.tenant,
                    job=job.id,
                    reason=str(error),
                )
            )

    async def _take(self, lease: Lease, job: Job, on_item: Callable[[], None]) -> None:
        logged = await self._results.read(job.tenant, job.batch, job.id)
        redelivered = lease.delivery.number > 1
        held = None
        if redelivered or logged.sequence:
            held = await self._claims.get(job.tenant, job.id)
        claim = held.claim if held else None
        owner = claim.owner if claim else None
        decision = decide(
            sha256=job.sha256,
            redelivered=redelivered,
            log_sha256=logged.sha256,
            log_complete=logged.complete,
            claim=claim,
            revision=held.revision if held else 0,
            claim_age_s=held.age_s if held else 0.0,
            owner_alive=owner is not None
            and owner != self._me.node
            and await self._nodes.alive(owner),
            checkpoint_s=self._settings.checkpoint_s,
        )
        match decision:
            case Done():
                await lease.delivery.ack()
                if held is not None:
                    await self._claims.forget(job.tenant, job.id, held.revision)
            case Conflict():
                await self._refuser.conflict(lease.delivery, job)
            case GiveBack(delay_s=delay_s):
                await lease.delivery.nak(delay_s)
            case Start():
                work = Work(job, done=logged.done, last=logged.sequence, on_item=on_item)
                await self._work(lease, work)
            case TakeOver(claim=before, revision=revision):
                revision = held.revision if held else revision
                work = await self._take_over(job, logged, before, revision, on_item)
                await self._work(lease, work)

    async def _take_over(
        self,
        job: Job,
        logged: LogState,
        before: Claim | None,
        revision: int,
        on_item: Callable[[], None],
    ) -> Work:
        """Make the job ours: first the claim, then a record in the log that fences its owner."""
        writer = secrets.token_hex(8)
        saved = before.saved if before else ()
        claim = take_over(
            before,
            owner=self._me.node,
            writer=writer,
            sha256=job.sha256,
            progress=progress(len(logged.done), saved),
        )
        revision = await self._claims.save(job.tenant, job.id, claim, revision=revision)
        while True:
            try:
                last = await self._results.take_over(
                    job.tenant, job.batch, job.id,
                    last=logged.sequence, sha256=job.sha256, writer=writer, node=self._me.node,
                )  # fmt: skip
                break
            except LeaseLost:
                # The old owner's last append came in between. The claim is ours, so read again.
                logged = await self._results.read(job.tenant, job.batch, job.id)
        self._emit(
            JobTakenOver(
                at=time.time(), node=self._me.node, tenant=job.tenant, job=job.id, model=job.model,
                tier=job.tier, from_node=before.owner if before else None,
                released=before is not None and before.owner is None,
                items_done=len(logged.done), tokens_saved=sum(len(s.done_ids) for s in saved),
            )
        )  # fmt: skip
        return Work(
            job,
            done=logged.done,
            last=last,
            claim=claim,
            revision=revision,
            writer=writer,
            on_item=on_item,
        )

    async def _work(self, lease: Lease, work: Work) -> None:
        """Work on the job and settle it by how that ended."""
        try:
            outcome = await self._attempt(work, lease.delivery)
        except ExceptionGroup as group:
            # A plain `except`: what `except*` raises leaves it in a group that nobody knows.
            if (dead := group.subgroup(EngineDead)) is None:
                raise
            with self._may_lose(work.job):
                await self._release(lease, work)
            raise EngineDead(str(dead.exceptions[0])) from group
        match outcome:
            case Interrupted():
                await self._release(lease, work)
                return
            case Lost(reason=reason):
                raise LeaseLost(reason)
            case Ended(error=error):
                for run in work.open:
                    work.finish(self._server.line(work, run, error=error))
            case Complete():
                pass
        await self._keeper.settle(work)
        await lease.delivery.ack()
        await self._keeper.forget(work)

    async def _attempt(self, work: Work, delivery: Delivery) -> Outcome:
        """Run every open item at once, and the keeper beside them."""
        deadline = self._deadline(delivery, work.job)
        if deadline is not None and deadline <= time.time():
            return Ended(EXPIRED)
        if await self._is_cancelled(work.job):
            return Ended(CANCELLED)
        if work.claim and work.claim.suspects >= SUSPECTS_MAX:
            return Ended(SUSPECTED)
        queue_s = max(0.0, time.time() - delivery.published_at)
        rendered = await self._server.render(work)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    self._server.serve(work, run, rendered.get(run.item.index), queue_s)
                )
                for run in work.open
            ]
            outcome = await self._keeper.keep(work, deadline=deadline)
            for task in tasks:
                task.cancel()
        return outcome

    async def _release(self, lease: Lease, work: Work) -> None:
        """Save all progress and hand the job to whoever pulls next."""
        await self._keeper.release(work)
        await lease.delivery.nak()
        self._emit(
            JobReleased(
                at=time.time(), node=self._me.node, tenant=work.job.tenant, job=work.job.id,
                model=work.job.model, tier=work.job.tier, items_done=work.items_done,
                tokens_saved=sum(len(s.done_ids) for s in work.saved()),
            )
        )  # fmt: skip

    def _deadline(self, delivery: Delivery, job: Job) -> float | None:
        if job.deadline is None and job.tier is Tier.REALTIME:
            return delivery.published_at + self._settings.realtime_deadline_s
        return job.deadline
