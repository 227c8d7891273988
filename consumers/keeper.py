"""Beside the items of a job: save what is done, watch for what ends it, and settle."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from consumers.drain import Drain
from consumers.drain_plan import plan
from consumers.halt import Halt
from consumers.identity import Identity
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
from fleet.broker.claims import Held
from fleet.broker.results import LogState
from fleet.claim import Claim
from fleet.errors import BrokerRefused, BrokerUnreachable, LeaseLost
from fleet.faults import NONE, Faults
from fleet.job import Job, ResultLine
from fleet.settings import Settings

log = logging.getLogger(__name__)
# How soon a write that the broker did not take is tried again.
RETRY_S = 0.5
# How long handing a job over is tried: longer than a cluster takes to choose a new leader.
RELEASE_S = 10.0


class IsCancelled(Protocol):
    """Knows what was cancelled, without asking anybody."""

    async def __call__(self, job: Job) -> bool:
        """Tell whether nothing of this job is wanted any more."""
        ...

    def wakes(self, sleeper: asyncio.Event) -> AbstractContextManager[None]:
        """Set `sleeper` whenever something was cancelled while the body runs."""
        ...


class Log(Protocol):
    """What the keeper needs of the result log."""

    async def read(self, tenant: str, batch: str | None, job: str) -> LogState:
        """Read a job's log."""
        ...

    async def append(
        self,
        tenant: str,
        batch: str | None,
        job: str,
        lines: Sequence[ResultLine],
        *,
        last: int,
        sha256: str,
        writer: str,
        trace: str | None = None,
    ) -> int:
        """Append behind `last`; return the new last sequence. Raises LeaseLost."""
        ...


class ClaimStore(Protocol):
    """What the keeper needs of the claims."""

    async def get(self, tenant: str, job: str) -> Held | None:
        """Read a job's claim."""
        ...

    async def save(self, tenant: str, job: str, claim: Claim, *, revision: int) -> int:
        """Write over `revision`; return the new one. Raises LeaseLost."""
        ...

    async def forget(self, tenant: str, job: str, revision: int) -> None:
        """Remove a claim. Raises LeaseLost."""
        ...


class Keeper:
    """Writes result lines and checkpoints. Every write is fenced; a refusal means the job is lost.

    A broker that does not answer is no reason to stop: lines stay pending and go out later. Such a
    write may have been stored all the same, and then it is our own that stands in our way. now:
    tells the time that deadlines are compared with.
    """

    def __init__(
        self,
        *,
        me: Identity,
        settings: Settings,
        results: Log,
        claims: ClaimStore,
        drain: Drain,
        halt: Halt,
        is_cancelled: IsCancelled,
        totals: Totals,
        faults: Faults = NONE,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._me = me
        self._settings = settings
        self._results = results
        self._claims = claims
        self._drain = drain
        self._halt = halt
        self._is_cancelled = is_cancelled
        self._totals = totals
        self._faults = faults
        self._now = now

    @property
    def drains(self) -> bool:
        """Whether a notice came, so that nothing new is begun."""
        return self._drain.begun.is_set()

    async def keep(self, work: Work, *, deadline: float | None) -> Outcome:
        """Save as the job goes along; return when it is complete or must not go on."""
        with (
            self._drain.wakes(work.changed),
            self._halt.wakes(work.changed),
            self._is_cancelled.wakes(work.changed),
        ):
            return await self._keep(work, deadline)

    async def _keep(self, work: Work, deadline: float | None) -> Outcome:
        save_at = time.monotonic() + self._settings.checkpoint_s
        # Looked for before the first wait, too: what came before it would wake nobody.
        while (outcome := await self._outcome(work, deadline)) is None:
            try:
                if time.monotonic() >= save_at or work.waits_for_mark:
                    save_at = time.monotonic() + self._settings.checkpoint_s
                    await self._append(work)
                    await self._save(work, owner=self._me.node)
                    work.marked()
                elif len(work.pending) >= self._settings.checkpoint_items:
                    await self._append(work)
            except LeaseLost as error:
                return Lost(str(error))
            except (BrokerUnreachable, BrokerRefused) as error:
                log.warning("checkpoint failed", extra={"job_id": work.job.id, "error": str(error)})
                save_at = time.monotonic() + RETRY_S
                if work.waits_for_mark:
                    await asyncio.sleep(RETRY_S)
            await self._next(work, save_at, deadline)
        return outcome

    async def _outcome(self, work: Work, deadline: float | None) -> Outcome | None:
        """Look for a reason not to go on."""
        if work.complete:
            return Complete()
        if self._halt.begun.is_set() or (work.failed is None and self._must_go(work)):
            return Interrupted()
        if work.failed is not None:
            return Failed(work.failed)
        if deadline is not None and self._now() >= deadline:
            return Ended(EXPIRED)
        if await self._is_cancelled(work.job):
            return Ended(CANCELLED)
        return None

    def _must_go(self, work: Work) -> bool:
        if not self._drain.begun.is_set():
            return False
        return not plan(work.paces, save_in_s=self._drain.save_in_s).worth_it

    async def settle(self, work: Work) -> None:
        """Write what is pending, however long the broker takes. Raises LeaseLost.

        Once a notice has run out, also BrokerUnreachable and BrokerRefused: the node must go.
        """
        while work.pending:
            try:
                await self._append(work)
            except (BrokerUnreachable, BrokerRefused) as error:
                if self._drain.left_s <= 0:
                    raise
                log.warning("append failed", extra={"job_id": work.job.id, "error": str(error)})
                await asyncio.sleep(RETRY_S)

    async def release(self, work: Work) -> None:
        """Save everything and own nothing, as long as there is time to try.

        Raises LeaseLost, BrokerUnreachable, BrokerRefused.
        """
        give_up = time.monotonic() + RELEASE_S
        while True:
            try:
                self._faults.at("release.before")
                await self._append(work)
                await self._save(work, owner=None)
                break
            except (BrokerUnreachable, BrokerRefused) as error:
                if min(give_up - time.monotonic(), self._drain.left_s) <= RETRY_S:
                    raise
                log.warning("release failed", extra={"job_id": work.job.id, "error": str(error)})
                await asyncio.sleep(RETRY_S)
        self._faults.at("release.after")

    async def forget(self, job: Job, revision: int) -> None:
        """Drop the claim of a settled job; its log is what counts from here on."""
        try:
            await self._claims.forget(job.tenant, job.id, revision)
        except (LeaseLost, BrokerUnreachable, BrokerRefused) as error:
            # The job is settled all the same, and a claim without one expires.
            log.warning("claim not removed", extra={"job_id": job.id, "error": str(error)})

    async def _next(self, work: Work, save_at: float, deadline: float | None) -> None:
        """Wait until something may have to be done."""
        waits = [save_at - time.monotonic(), self._drain.save_in_s]
        if deadline is not None:
            waits.append(deadline - self._now())
        if min(waits) > 0 and not (work.complete or work.waits_for_mark):
            try:
                async with asyncio.timeout(min(waits)):
                    await work.changed.wait()
            except TimeoutError:
                return
        work.changed.clear()

    async def _append(self, work: Work) -> None:
        """Write the lines that are pending now; those that finish meanwhile stay pending."""
        items = {line.fleet.item for line in work.pending}
        if items:
            self._faults.at("generate.after")
            self._faults.at("append.before")
        while items:
            with self._totals.clock.writing():
                done, work.last = await self._append_once(work, items)
            items -= done
            lines = work.written(done)
            complete = work.complete and not work.pending
            self._totals.written(
                work.job, lines, complete=complete, engine_s=work.secure_written(done)
            )
            self._faults.at("append.after")

    async def _append_once(self, work: Work, items: set[int]) -> tuple[frozenset[int], int]:
        """Return which of the items' lines are in the log now, and its last sequence."""
        job = work.job
        try:
            last = await self._results.append(
                job.tenant,
                job.batch,
                job.id,
                tuple(line for line in work.pending if line.fleet.item in items),
                last=work.last,
                sha256=job.sha256,
                writer=work.writer,
                trace=work.trace,
            )
        except LeaseLost:
            logged = await self._results.read(job.tenant, job.batch, job.id)
            if logged.writer != work.writer or logged.sequence <= work.last:
                raise
            return logged.done & items, logged.sequence
        return frozenset(items), last

    async def _save(self, work: Work, *, owner: str | None) -> None:
        job, claim, used_s = work.job, work.next_claim(owner=owner), work.used()
        self._faults.at("checkpoint.before")
        with self._totals.clock.writing():
            work.revision = await self._save_once(work, claim)
        work.claim = claim
        self._totals.kept(job, work.secure(used_s))
        self._faults.at("checkpoint.after")

    async def _save_once(self, work: Work, claim: Claim) -> int:
        job = work.job
        try:
            return await self._claims.save(job.tenant, job.id, claim, revision=work.revision)
        except LeaseLost:
            held = await self._claims.get(job.tenant, job.id)
            if held is None or held.claim is None or held.claim.writer != work.writer:
                raise
            return await self._claims.save(job.tenant, job.id, claim, revision=held.revision)
