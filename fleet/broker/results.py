"""The result log: one subject a job, appended to under a fence, read by Direct Get."""

import secrets
import time
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from fleet.broker.connection import Connection
from fleet.broker.fenced import append_after
from fleet.broker.latest import Latest
from fleet.broker.log_state import (
    CLAIM_RECORD,
    ClaimRecord,
    LogState,
    fold,
    is_claim,
    lines_of,
    pack,
)
from fleet.broker.stored import Stored, messages
from fleet.job import ResultLine
from fleet.subjects import IDENTIFIER, RESULTS, results_subject
from fleet.wire import RECORD, SHA256, TRACEPARENT, WRITER

__all__ = ["LogMessage", "LogState", "ResultLog"]
_TOKEN_BYTES: Final = 8


class LogMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a log. lines: () for a take-over's record and for what is not ours."""

    sequence: int
    tenant: str
    batch: str
    job: str
    lines: tuple[ResultLine, ...]
    is_claim: bool


class ResultLog:
    """Reads and appends to the logs of jobs.

    Every append names the sequence it follows. Who is refused has lost the job: LeaseLost. Where an
    answer is lost, the message's own token tells whether it was stored.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._latest = Latest(connection, RESULTS)

    async def read(self, tenant: str, batch: str | None, job: str) -> LogState:
        """Read a job's log; one round trip where the last message tells it all."""
        subject = results_subject(tenant, batch, job)
        last = await self._latest.of(subject)
        if last is None:
            return LogState()
        state = fold(job, (last,))
        if state.complete:
            return state
        stored = [message async for message in messages(self._connection, RESULTS, subject)]
        return fold(job, stored)

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
        """Append finished items behind sequence `last`; return the log's new last sequence.

        writer: the token of the claim's run. trace: the `traceparent` of who made them.
        Raises LeaseLost, BrokerRefused, BrokerUnreachable; a part of the lines may be stored then,
        and `read` says which.
        """
        subject = results_subject(tenant, batch, job)
        for payload in pack(lines):
            headers = {SHA256: sha256, WRITER: _append_token(writer)}
            if trace is not None:
                headers[TRACEPARENT] = trace
            last = await self._append(subject, payload, headers, last=last)
        return last

    async def take_over(
        self,
        tenant: str,
        batch: str | None,
        job: str,
        *,
        last: int,
        sha256: str,
        writer: str,
        node: str,
    ) -> int:
        """Append the record that fences the former owner out of the log; return its sequence."""
        headers = {SHA256: sha256, WRITER: _append_token(writer), RECORD: CLAIM_RECORD}
        record = msgspec.json.encode(ClaimRecord(node=node, at=time.time()))
        subject = results_subject(tenant, batch, job)
        return await self._append(subject, record, headers, last=last)

    async def follow(
        self, tenant: str, batch: str | None, *, after: int = 0, job: str | None = None
    ) -> AsyncIterator[LogMessage]:
        """Yield what is stored behind sequence `after` of a batch, or of one job, then end.

        Poll with the last sequence that was seen; one round trip where nothing is new.
        """
        subject = results_subject(tenant, batch, job or "*")
        async for stored in messages(self._connection, RESULTS, subject, after=after):
            if (message := _message(stored)) is not None:
                yield message

    async def _append(
        self, subject: str, payload: bytes, headers: dict[str, str], *, last: int
    ) -> int:
        return await append_after(
            self._connection, RESULTS, subject, payload, headers=headers, last=last
        )


def _append_token(writer: str) -> str:
    """Name one append. A run may write equal bytes twice, so its own token is not enough."""
    return f"{writer}.{secrets.token_hex(_TOKEN_BYTES)}"


def _message(stored: Stored) -> LogMessage | None:
    _, tenant, batch, job = stored.subject.split(".")
    if not IDENTIFIER.fullmatch(job):
        return None
    return LogMessage(
        sequence=stored.sequence,
        tenant=tenant,
        batch=batch,
        job=job,
        lines=lines_of(job, stored),
        is_claim=is_claim(stored),
    )
