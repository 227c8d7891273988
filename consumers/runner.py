"""One delivery, from decoding to settlement: claim, generate, checkpoint, append, ack."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from consumers.attempt import Attempts
from consumers.belief import Believer
from consumers.drain_plan import Plan
from consumers.filler import Filler
from consumers.gate import Gate
from consumers.halt import Halt
from consumers.identity import Identity
from consumers.lease import Lease, LeaseKeeper
from consumers.outcome import CONDEMNED
from consumers.refuse import Refuser
from consumers.settler import Settler
from consumers.work import Work, progress
from fleet.broker.claims import Claims
from fleet.broker.nodes import Nodes
from fleet.broker.queue import Delivery
from fleet.broker.results import LogState, ResultLog
from fleet.claim import Claim, Conflict, Done, GiveBack, Start, TakeOver, decide, take_over
from fleet.errors import BrokerRefused, BrokerUnreachable, LeaseLost
from fleet.events import Emit, JobLost, JobTakenOver
from fleet.faults import NONE, Faults
from fleet.job import Job, Tier
from fleet.tracing import Span, Traces

# A delivery for which there is no room now is offered again so much later.
NO_ROOM_S = 1.0
# An on-demand consumer lets a job that must run alone pass so often: real-time requests would wait
# behind it. When nobody else took it by then, there is no spot consumer.
PASSES = 20


class Runner:
    """Runs deliveries; many at a time, each in a task of its caller's group."""

    def __init__(
        self,
        *,
        me: Identity,
        checkpoint_s: float,
        results: ResultLog,
        claims: Claims,
        nodes: Nodes,
        refuser: Refuser,
        filler: Filler,
        believer: Believer,
        attempts: Attempts,
        settler: Settler,
        lease: LeaseKeeper,
        halt: Halt,
        gate: Gate,
        traces: Traces,
        emit: Emit,
        faults: Faults = NONE,
    ) -> None:
        self._me = me
        self._checkpoint_s = checkpoint_s
        self._results = results
        self._claims = claims
        self._nodes = nodes
        self._refuser = refuser
        self._filler = filler
        self._believer = believer
        self._attempts = attempts
        self._settler = settler
        self._lease = lease
        self._halt = halt
        self._gate = gate
        self._traces = traces
        self._emit = emit
        self._faults = faults
        self._running: dict[tuple[str, str], Lease] = {}

    @property
    def jobs(self) -> int:
        """How many jobs are in hand."""
        return len(self._running)

    def plan(self, save_in_s: float) -> Plan:
        """Predict how the items in hand end, if they may run for so many seconds more."""
        return self._attempts.plan(save_in_s)

    async def run(self, delivery: Delivery, job: Job, *, on_item: Callable[[], None]) -> None:
        """Work on one delivery until it is settled, released, or lost to another consumer.

        on_item: called for every item that is finished.
        """
        key = (job.tenant, job.id)
        if (lease := self._running.get(key)) is not None:
            with self._may_lose(job):
                await self._again(lease, delivery)
            return
        if self._halt.begun.is_set() or self._gate.closed:
            with self._may_lose(job):
                await delivery.nak(NO_ROOM_S)
            return
        lease = self._running[key] = Lease(delivery)
        try:
            with (
                self._traces.delivery(job, number=delivery.number) as span,
                self._may_lose(job),
                self._lease.hold(lease),
            ):
                await self._take(lease, job, span, on_item)
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

    async def _take(self, lease: Lease, job: Job, span: Span, on_item: Callable[[], None]) -> None:
        logged = await self._results.read(job.tenant, job.batch, job.id)
        redelivered = lease.delivery.number > 1
        held = None
        if redelivered or logged.sequence:
            held = await self._claims.get(job.tenant, job.id)
        claim, revision = (held.claim, held.revision) if held else (None, 0)
        owner = claim.owner if claim else None
        span.follow(claim.trace if claim else None)
        decision = decide(
            sha256=job.sha256,
            redelivered=redelivered,
            log_sha256=logged.sha256,
            log_complete=logged.complete,
            claim=claim,
            revision=revision,
            claim_age_s=held.age_s if held else 0.0,
            owner_alive=owner is not None
            and owner != self._me.node
            and await self._nodes.alive(owner),
            checkpoint_s=self._checkpoint_s,
            isolates=self._isolates(lease.delivery, job),
        )
        if isinstance(decision, Start | TakeOver):
            filled = await self._filler.fill(lease.delivery, job, claim)
            if filled is None:
                return
            job = filled
        match decision:
            case Done():
                await self._settler.ack(lease.delivery, job, revision=revision)
            case Conflict():
                await self._refuser.conflict(lease.delivery, job)
            case GiveBack(delay_s=delay_s):
                await lease.delivery.nak(delay_s)
            case Start():
                work = Work(
                    job, done=logged.done, last=logged.sequence, trace=span.traceparent,
                    on_item=on_item,
                )  # fmt: skip
                await self._attempts.work(lease, work)
            case TakeOver(claim=before, revision=revision):
                work = await self._take_over(job, logged, before, revision, on_item)
                work.trace = span.traceparent
                await self._attempts.work(lease, work)

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
        before = self._believer.believe(job, before) if before else None
        saved = before.saved if before else ()
        claim = take_over(
            before,
            owner=self._me.node,
            writer=writer,
            sha256=job.sha256,
            progress=progress(len(logged.done), saved),
            at=time.time(),
        )
        revision = await self._claims.save(job.tenant, job.id, claim, revision=revision)
        self._faults.at("claim.after")
        while True:
            try:
                last = await self._results.take_over(
                    job.tenant, job.batch, job.id,
                    last=logged.sequence, sha256=job.sha256, writer=writer, node=self._me.node,
                )  # fmt: skip
                break
            except LeaseLost:
                # The old owner's last append came in between, or a new owner's record. Whose claim
                # it is by now tells them apart: a record of ours would fence the new one out.
                held = await self._claims.get(job.tenant, job.id)
                if held is None or held.revision != revision:
                    raise
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
            given_up=_given_up(logged),
            last=last,
            claim=claim,
            revision=revision,
            writer=writer,
            on_item=on_item,
        )

    def _isolates(self, delivery: Delivery, job: Job) -> bool:
        """Say whether a job that must run alone may do so here."""
        is_spot = self._me.capacity_type == "spot"
        return is_spot or job.tier is Tier.REALTIME or delivery.number > PASSES


def _given_up(logged: LogState) -> frozenset[int]:
    """Find the items that were given up before: those that fail are only at the job's end."""
    return frozenset(
        line.fleet.item for line in logged.lines if line.error and line.error.code == CONDEMNED.code
    )
