"""How a job leaves our hands: settled, handed over, or put back for another attempt."""

import time

import msgspec

from consumers.halt import Halt
from consumers.identity import Identity
from consumers.keeper import Keeper
from consumers.lease import Lease
from consumers.refuse import Refuser
from consumers.work import Work
from fleet.broker.queue import Delivery
from fleet.claim import End, backoff_s, crashed, ended
from fleet.errors import JobRejected
from fleet.events import Emit, JobReleased, JobRetried
from fleet.faults import NONE, Faults
from fleet.job import Job, WireError


class Settler:
    """Writes first and acknowledges then.

    Everything it does may raise LeaseLost, BrokerUnreachable and BrokerRefused; the job is then
    another's, or comes again.
    """

    def __init__(
        self,
        *,
        me: Identity,
        keeper: Keeper,
        refuser: Refuser,
        halt: Halt,
        emit: Emit,
        faults: Faults = NONE,
    ) -> None:
        self._me = me
        self._keeper = keeper
        self._refuser = refuser
        self._halt = halt
        self._emit = emit
        self._faults = faults

    async def settle(self, lease: Lease, work: Work) -> None:
        """Write what is pending and acknowledge; a job that was given up whole is buried, too."""
        poison = work.pending[-1].error if work.hopeless and work.pending else None
        await self._keeper.settle(work)
        if poison is not None:
            cause = JobRejected(poison.message, code=poison.code)
            await self._refuser.bury(lease.delivery, work.job, cause, work.claim)
        await self.ack(lease.delivery, work.job, revision=work.revision)

    async def ack(self, delivery: Delivery, job: Job, *, revision: int) -> None:
        """Take a job off the queue whose results are safe, and then its claim; 0 is none."""
        self._faults.at("ack.before")
        await delivery.ack()
        self._faults.at("ack.after")
        if revision:
            await self._keeper.forget(job, revision)

    async def release(self, lease: Lease, work: Work) -> None:
        """Save all progress and hand the job to whoever pulls next.

        An engine that died may have died of this job, if it had it, and then it counts as its
        crash.
        """
        if self._halt.error is not None and work.began:
            self._book(work, "engine_died")
        elif work.claim is not None:
            self._book(work, "released")
        await self._keeper.release(work)
        await lease.delivery.nak()
        self._emit(
            JobReleased(
                at=time.time(), node=self._me.node, tenant=work.job.tenant, job=work.job.id,
                model=work.job.model, tier=work.job.tier, items_done=work.items_done,
                tokens_saved=sum(len(s.done_ids) for s in work.saved()),
            )
        )  # fmt: skip

    async def retry(self, lease: Lease, work: Work, error: WireError) -> None:
        """Keep what is done, and let the job wait before the next attempt."""
        self.count_failure(work)
        await self._keeper.release(work)
        delay_s = backoff_s(work.attempts)
        await lease.delivery.nak(delay_s)
        self._emit(
            JobRetried(
                at=time.time(), node=self._me.node, tenant=work.job.tenant, job=work.job.id,
                attempts=work.attempts, code=error.code, reason=error.message, delay_s=delay_s,
            )
        )  # fmt: skip

    def count_failure(self, work: Work) -> None:
        """Count an attempt that failed by the job's own fault."""
        self._book(work, "failed", attempts=work.attempts + 1)

    def _book(self, work: Work, how: End, *, attempts: int = 0) -> None:
        """Note in the claim, which the release writes, how our time with the job ended."""
        claim = work.next_claim(owner=self._me.node)
        if how == "engine_died":
            claim = crashed(claim, progress=work.progress, at=time.time(), how=how)
        else:
            claim = ended(claim, at=time.time(), how=how)
        work.claim = msgspec.structs.replace(claim, attempts=max(claim.attempts, attempts))
        work.trying = None
