"""Jobs that cannot be worked on: a dead letter always, an error result where it can be matched."""

import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain, repeat
from typing import Protocol

import msgspec

from fleet.broker.dead import DeadLetters
from fleet.broker.results import ResultLog
from fleet.endings import CONFLICT
from fleet.errors import JobRejected, LeaseLost
from fleet.events import Emit, JobDead
from fleet.job import CapacityType, FleetInfo, ResultLine, WireError
from fleet.subjects import IDENTIFIER, TOKEN
from fleet.wire import BATCH, JOB_ID, MSG_ID, fallback_id, trace_of


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


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where the results of a job go."""

    tenant: str
    batch: str | None
    job: str


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
        to = address_of(letter)
        if to is not None:
            # Refused: the id has results already. They are another delivery's, and stay.
            with suppress(LeaseLost):
                await self._results.append(
                    to.tenant,
                    to.batch,
                    to.job,
                    [self._line(to.job, cause)],
                    last=0,
                    sha256=hashlib.sha256(letter.payload).hexdigest(),
                    writer=self._node,
                    trace=trace_of(letter.headers),
                )
        await self.bury(
            letter,
            cause,
            tenant=to.tenant if to else None,
            job=to.job if to else fallback_id(letter.stream, letter.sequence),
        )

    async def bury(
        self,
        letter: Letter,
        cause: JobRejected,
        *,
        tenant: str | None,
        job: str,
        history: Sequence[str] = (),
    ) -> None:
        """Write the dead letter alone. history: what happened to the job, a line each."""
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
            history=history,
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

    async def conflict(self, letter: Letter, *, tenant: str, job: str) -> JobRejected:
        """Bury a job whose id belongs to one with other content; return what was said of it."""
        cause = JobRejected(
            f"job id {job} of tenant {tenant} was used before with other content: "
            "choose a new id for new content",
            code=CONFLICT,
        )
        await self.bury(letter, cause, tenant=tenant, job=job)
        return cause

    def _line(self, job: str, cause: JobRejected) -> ResultLine:
        return ResultLine(
            id=f"{job}-0",
            custom_id=None,
            error=WireError(code=cause.code, message=str(cause)),
            fleet=FleetInfo(
                job=job,
                item=0,
                items=1,
                node=self._node,
                capacity_type=self._capacity_type,
                zone=self._zone,
            ),
        )


def address_of(letter: Letter) -> Address | None:
    """Find where a job's results go, as well as that can be read; None without a tenant.

    Every part counts by itself, for a wrong deadline makes no id unknown. Where the id itself is
    wrong, it is the job's place in the stream, which the sender knows from its PubAck.
    """
    _, _, _, tenant, *more = chain(letter.subject.split("."), repeat("", 4))
    if any(more) or not TOKEN.fullmatch(tenant):
        return None
    job = letter.headers.get(JOB_ID) or letter.headers.get(MSG_ID) or ""
    batch = letter.headers.get(BATCH, "")
    return Address(
        tenant=tenant,
        batch=batch if IDENTIFIER.fullmatch(batch) else None,
        job=job if IDENTIFIER.fullmatch(job) else fallback_id(letter.stream, letter.sequence),
    )
