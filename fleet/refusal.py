"""Jobs that cannot be worked on: a dead letter always, an error result where it can be matched."""

import hashlib
import time
from contextlib import suppress
from typing import Protocol

from fleet.broker.dead import DeadLetters
from fleet.broker.results import ResultLog
from fleet.errors import JobRejected, LeaseLost
from fleet.events import Emit, JobDead
from fleet.job import CapacityType, FleetInfo, ResultLine, WireError
from fleet.subjects import parse_job_subject
from fleet.wire import Envelope, decode_envelope, fallback_id


class Letter(Protocol):
    """A stored job as it came, however hostile."""

    @property
    def subject(self) -> str:
        """Where it was published."""
        ...

    @property
    def headers(self) -> dict[str, str]:
        """Its headers, first values only."""
        ...

    @property
    def payload(self) -> bytes:
        """Its body."""
        ...

    @property
    def stream(self) -> str:
        """The stream that stores it."""
        ...

    @property
    def sequence(self) -> int:
        """Its place in that stream."""
        ...


class Refusals:
    """Buries what is no job and tells its sender; removing it from its queue is the caller's.

    node, capacity_type, zone: who says so, None where it is no consumer.
    """

    def __init__(
        self,
        *,
        results: ResultLog,
        dead: DeadLetters,
        emit: Emit,
        node: str,
        capacity_type: CapacityType | None = None,
        zone: str = "",
    ) -> None:
        self._results = results
        self._dead = dead
        self._emit = emit
        self._node = node
        self._capacity_type = capacity_type
        self._zone = zone

    async def refuse(self, letter: Letter, cause: JobRejected) -> None:
        """Write the error result, then the dead letter. Raises BrokerRefused, BrokerUnreachable."""
        name = name_of(letter)
        if name is not None:
            # Refused: the id has results already. They are another delivery's, and stay.
            with suppress(LeaseLost):
                await self._results.append(
                    name.tenant,
                    name.batch,
                    name.id,
                    [self._line(name, cause)],
                    last=0,
                    sha256=hashlib.sha256(letter.payload).hexdigest(),
                    writer=self._node,
                )
        await self.bury(
            letter,
            cause,
            tenant=name.tenant if name else None,
            job=name.id if name else fallback_id(letter.stream, letter.sequence),
        )

    async def bury(
        self, letter: Letter, cause: JobRejected, *, tenant: str | None, job: str
    ) -> None:
        """Write the dead letter alone."""
        await self._dead.bury(
            subject=letter.subject,
            payload=letter.payload,
            headers=letter.headers,
            reason=str(cause),
            code=cause.code,
            tenant=tenant,
            job=job,
            stream=letter.stream,
            sequence=letter.sequence,
        )
        self._emit(
            JobDead(
                at=time.time(),
                node=self._node,
                tenant=tenant or "",
                job=job,
                code=cause.code,
                reason=str(cause),
            )
        )

    def _line(self, name: Envelope, cause: JobRejected) -> ResultLine:
        return ResultLine(
            id=f"{name.id}-0",
            custom_id=None,
            error=WireError(code=cause.code, message=str(cause)),
            fleet=FleetInfo(
                job=name.id,
                item=0,
                items=1,
                node=self._node,
                capacity_type=self._capacity_type,
                zone=self._zone,
            ),
        )


def name_of(letter: Letter) -> Envelope | None:
    """Name a job as well as it can be: where its id is wrong, by its place in the stream.

    The sender knows that place from its PubAck. None where not even the subject can be read.
    """
    try:
        return decode_envelope(
            letter.subject, letter.headers, stream=letter.stream, sequence=letter.sequence
        )
    except JobRejected:
        pass  # an id or the deadline is wrong; the subject may still be right
    try:
        where = parse_job_subject(letter.subject)
    except JobRejected:
        return None
    return Envelope(
        id=fallback_id(letter.stream, letter.sequence),
        tenant=where.tenant,
        model=where.model,
        tier=where.tier,
    )
