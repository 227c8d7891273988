"""Giving a queued job its end from outside, where no consumer will."""

import secrets
from typing import Final, Literal, TypeAlias

import msgspec

from fleet.broker.claims import Claims, Held
from fleet.broker.connection import Connection
from fleet.broker.log_state import LogState
from fleet.broker.nodes import Nodes
from fleet.broker.queued import Queued, remove
from fleet.broker.results import ResultLog
from fleet.claim import STALE_INTERVALS, Claim
from fleet.endings import lines_of
from fleet.errors import JobRejected, LeaseLost
from fleet.job import Job, WireError
from fleet.refusal import Refusals
from fleet.wire import decode_envelope, decode_job

NODE: Final = "sweep"
# ended: it has its end now. settled: it had one before, and is off its queue now. left: a living
# consumer has it, or somebody else was quicker.
Ending: TypeAlias = Literal["ended", "settled", "left"]


class Finisher:
    """Ends jobs under the same fence as a consumer: of two that try, one does.

    checkpoint_s: a claim that did not move for several of these belongs to nobody.
    """

    def __init__(
        self, connection: Connection, *, refusals: Refusals, checkpoint_s: float = 5.0
    ) -> None:
        self._connection = connection
        self._refusals = refusals
        self._results = ResultLog(connection)
        self._claims = Claims(connection)
        self._nodes = Nodes(connection)
        self._checkpoint_s = checkpoint_s

    async def end(
        self, one: Queued, error: WireError, *, bury: JobRejected | None = None
    ) -> Ending:
        """Tell the open items of a job `error`, and take it off its queue.

        What cannot be decoded is refused for that instead. bury: also write a dead letter that says
        this. Raises BrokerRefused, BrokerUnreachable.
        """
        try:
            job = _decode(one)
        except JobRejected as cause:
            await self.refuse(one, cause)
            return "ended"
        logged = await self._results.read(job.tenant, job.batch, job.id)
        if logged.sha256 not in {None, job.sha256}:
            await self._refusals.conflict(one, tenant=job.tenant, job=job.id)
            await remove(self._connection, one)
            return "ended"
        held = await self._claims.get(job.tenant, job.id)
        if logged.complete:
            await self._settle(one, job, held)
            return "settled"
        if await self.is_held(held):
            return "left"
        try:
            held = await self._write(job, logged, held, error)
        except LeaseLost:
            return "left"
        if bury is not None:
            history = [past.told for past in held.claim.history] if held and held.claim else []
            await self._refusals.bury(one, bury, tenant=job.tenant, job=job.id, history=history)
        await self._settle(one, job, held)
        return "ended"

    async def refuse(self, one: Queued, cause: JobRejected) -> None:
        """Make it a dead letter, tell its sender where that can be, take it off its queue."""
        await self._refusals.refuse(one, cause)
        await remove(self._connection, one)

    async def holder(self, tenant: str, job: str) -> Held | None:
        """Read who holds a job."""
        return await self._claims.get(tenant, job)

    async def is_held(self, held: Held | None) -> bool:
        """Say whether a living consumer works on a job."""
        owner = held.claim.owner if held and held.claim else None
        if held is None or owner is None or held.age_s > STALE_INTERVALS * self._checkpoint_s:
            return False
        return await self._nodes.alive(owner)

    async def _write(
        self, job: Job, logged: LogState, held: Held | None, error: WireError
    ) -> Held | None:
        """Append the missing lines; whoever had the job before is fenced out first."""
        writer, last = secrets.token_hex(8), logged.sequence
        before = held.claim if held else None
        if held is not None or last:
            base = before or Claim(owner=NODE, writer=writer, sha256=job.sha256)
            claim = msgspec.structs.replace(base, owner=NODE, writer=writer)
            revision = await self._claims.save(
                job.tenant, job.id, claim, revision=held.revision if held else 0
            )
            held = Held(claim=claim, revision=revision, age_s=0.0)
            last = await self._results.take_over(
                job.tenant, job.batch, job.id,
                last=last, sha256=job.sha256, writer=writer, node=NODE,
            )  # fmt: skip
        lines = lines_of(
            job,
            error,
            done=logged.done,
            node=NODE,
            interruptions=before.interruptions if before else 0,
        )
        await self._results.append(
            job.tenant, job.batch, job.id, lines,
            last=last, sha256=job.sha256, writer=writer, trace=job.traceparent,
        )  # fmt: skip
        return held

    async def _settle(self, one: Queued, job: Job, held: Held | None) -> None:
        await remove(self._connection, one)
        if held is not None:
            try:
                await self._claims.forget(job.tenant, job.id, held.revision)
            except LeaseLost:
                return  # a consumer settles it at the same time


def _decode(one: Queued) -> Job:
    envelope = decode_envelope(one.subject, one.headers, stream=one.stream, sequence=one.sequence)
    return decode_job(envelope, one.payload)
