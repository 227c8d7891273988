"""What becomes of a delivery whose requests lie in a blob store."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from consumers.inputs import Inputs, Unready
from consumers.keeper import IsCancelled
from consumers.refuse import Refuser
from fleet.blob import unread
from fleet.broker.beside import Beside
from fleet.broker.queue import Delivery
from fleet.claim import Claim
from fleet.endings import deadline_of
from fleet.errors import JobRejected
from fleet.job import Job, WireError

# Given back for longer with every delivery: an outage of the store is waited out, not counted.
PAUSE_S: Final = 2.0
MOST_PAUSE_S: Final = 60.0


class Filler:
    """Gives jobs their items, an error for each of them, or the delivery back.

    stopped: returns when nothing new is to be begun. now: tells the time that deadlines are
    compared with.
    """

    def __init__(
        self,
        inputs: Inputs,
        *,
        refuser: Refuser,
        is_cancelled: IsCancelled,
        realtime_deadline_s: float,
        stopped: Callable[[], Awaitable[None]],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._inputs = inputs
        self._refuser = refuser
        self._is_cancelled = is_cancelled
        self._realtime_deadline_s = realtime_deadline_s
        self._stopped = stopped
        self._now = now

    async def fill(self, delivery: Delivery, job: Job, claim: Claim | None) -> Job | None:
        """Return the job as it can be worked on; None if it was given back, for later or elsewhere.

        An input that can never be used gives every item the reason for its error line, so that the
        job and its batch come to their end, and a dead letter keeps the job.
        """
        if job.source is None:
            return job
        try:
            # A fetch takes minutes, which a node that goes, or has lost its engine, does not have.
            async with asyncio.timeout(None) as bound, Beside(self._expire(bound)):
                return await self._inputs.fill(job)
        except TimeoutError:
            await delivery.nak()
            return None
        except JobRejected as cause:
            await self._refuser.bury(delivery, job, cause, claim)
            error = WireError(code=cause.code, message=str(cause))
            return msgspec.structs.replace(job, items=unread(job.source, error))
        except Unready:
            if self._is_expired(delivery, job) or await self._is_cancelled(job):
                return job
            await delivery.nak(min(MOST_PAUSE_S, PAUSE_S * delivery.number))
            return None

    async def _expire(self, bound: asyncio.Timeout) -> None:
        await self._stopped()
        bound.reschedule(asyncio.get_running_loop().time())

    def _is_expired(self, delivery: Delivery, job: Job) -> bool:
        deadline = deadline_of(
            deadline=job.deadline,
            tier=job.tier,
            published_at=delivery.published_at,
            realtime_deadline_s=self._realtime_deadline_s,
        )
        return deadline is not None and deadline <= self._now()
