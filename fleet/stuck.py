"""Jobs that are stored and that their durable will never deliver: found, and put back in the queue.

A durable forgets jobs when an operator caps its deliveries. Such a job is in no figure that
JetStream shows, and nobody waits for it; so what is stored is compared with what waits and what is
out. The figures are read one after the other, so a difference counts only when it stays.
"""

import logging
import time
from typing import Final

import msgspec

from fleet.broker.connection import ApiError, Connection
from fleet.broker.durables import DurableState
from fleet.broker.queued import Queued, queued, queued_at, remove
from fleet.endings import deadline_of
from fleet.errors import JobRejected, UsageError
from fleet.finisher import Finisher
from fleet.job import Tier
from fleet.renew import renewed
from fleet.wire import BATCH, JOB_ID, MSG_ID, decode_envelope, fallback_id

# Of ack waits: so long a job of a dead consumer is out before it is delivered again.
PATIENCE: Final = 2.0
MIN_PATIENCE_S: Final = 1.0
# More than that at once would be a burst that the queue feels.
ROUND: Final = 1_000
_FULL: Final = 10077
log = logging.getLogger(__name__)


class Suspects(msgspec.Struct, frozen=True):
    """Jobs that may be stuck. since: on the monotonic clock. sequences: those delivered by then."""

    since: float
    sequences: tuple[int, ...]


class Rescue:
    """Watches the durables and puts back what they forgot.

    realtime_deadline_s: for real-time jobs that name no deadline, so that being put back gives them
    no more time than they had.
    """

    def __init__(
        self, connection: Connection, finisher: Finisher, *, realtime_deadline_s: float
    ) -> None:
        self._connection = connection
        self._finisher = finisher
        self._realtime_deadline_s = realtime_deadline_s
        self._suspects: dict[str, Suspects] = {}

    @property
    def waits(self) -> bool:
        """Whether something looks stuck and is given time to prove otherwise."""
        return bool(self._suspects)

    async def look(self, state: DurableState) -> list[Queued]:
        """Take a durable's figures in; return the jobs that were put back in the queue now."""
        if not state.exists or state.stuck == 0:
            # Without a durable everything waits for it to be made again, and is delivered then.
            self._suspects.pop(state.name, None)
            return []
        now = time.monotonic()
        suspects = self._suspects.get(state.name)
        if suspects is None:
            self._suspects[state.name] = Suspects(now, await self._delivered(state))
            return []
        if now - suspects.since < max(MIN_PATIENCE_S, PATIENCE * state.ack_wait_s):
            return []
        del self._suspects[state.name]
        return [
            one
            for sequence in suspects.sequences
            if (one := await self._put_back(state.stream, sequence)) is not None
        ]

    async def _delivered(self, state: DurableState) -> tuple[int, ...]:
        """Find the jobs that the durable has passed; those in good hands are among them."""
        found: list[int] = []
        subject = f"jobs.{state.tier}.{state.model}.*"
        async for one in queued(self._connection, state.stream, subject):
            if one.sequence > state.delivered_seq or len(found) == ROUND:
                break
            found.append(one.sequence)
        return tuple(found)

    async def _put_back(self, stream: str, sequence: int) -> Queued | None:
        """Publish a job again and drop its old place, unless somebody works on it."""
        one = await queued_at(self._connection, stream, sequence)
        if one is None:
            return None
        try:
            envelope = decode_envelope(one.subject, one.headers, stream=stream, sequence=sequence)
        except JobRejected as cause:
            await self._finisher.refuse(one, cause)
            return None
        held = await self._finisher.holder(envelope.tenant, envelope.id)
        if await self._finisher.is_held(held):
            return None
        deadline = envelope.deadline
        if envelope.tier is Tier.REALTIME:
            deadline = deadline_of(
                deadline=deadline,
                tier=envelope.tier,
                published_at=one.written_at,
                realtime_deadline_s=self._realtime_deadline_s,
            )
        headers = renewed(
            one.headers,
            job=one.headers.get(JOB_ID) or one.headers.get(MSG_ID) or fallback_id(stream, sequence),
            msg_id=f"again-{stream}-{sequence}",
            batch=one.headers.get(BATCH),
            deadline=deadline,
        )
        try:
            await self._connection.append(one.subject, one.payload, headers=headers)
        except ApiError as error:
            if error.err_code != _FULL:
                raise
            log.warning(
                "a stuck job finds its queue full", extra={"job": envelope.id, "stream": stream}
            )
            return None
        except UsageError as error:
            # With what has to be added it is over the server's limit, and so far over ours.
            await self._finisher.refuse(one, JobRejected(str(error), code="too_large"))
            return None
        await remove(self._connection, one)
        return one
