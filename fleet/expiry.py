"""Which queued jobs are past their deadline. Each job is read once, when it has waited a while."""

import heapq
from contextlib import aclosing
from typing import Final

from fleet.broker.connection import Connection
from fleet.broker.queued import Queued, queued
from fleet.broker.stream_state import StreamState
from fleet.endings import deadline_of
from fleet.errors import JobRejected
from fleet.job import Tier
from fleet.subjects import job_stream
from fleet.wire import decode_envelope

# Jobs that are taken up sooner are never looked at here.
SETTLED_S: Final = 1.0
# A look reads no more than this, so that a backlog of gigabytes is read in pieces.
READ_JOBS: Final = 10_000
READ_BYTES: Final = 64 * 1024 * 1024


class Deadlines:
    """The deadlines of one tier's queued jobs, in order.

    realtime_deadline_s: for real-time jobs that name none.
    """

    def __init__(self, connection: Connection, tier: Tier, *, realtime_deadline_s: float) -> None:
        self._connection = connection
        self._tier = tier
        self._stream = job_stream(tier)
        self._realtime_deadline_s = realtime_deadline_s
        self._after = 0
        self._waiting: list[tuple[float, int]] = []

    async def read(self, state: StreamState, *, now: float) -> None:
        """Take note of the jobs that came since; now: seconds since the epoch at the server."""
        if state.last_seq < self._after:
            self._after, self._waiting = 0, []  # another stream under the same name
        if not state.subjects or state.last_seq == self._after:
            self._after = state.last_seq
            return
        left_jobs, left_bytes = READ_JOBS, READ_BYTES
        jobs = queued(self._connection, self._stream, "jobs.>", after=self._after)
        async with aclosing(jobs):
            async for one in jobs:
                left_jobs -= 1
                left_bytes -= len(one.payload)
                if one.written_at > now - SETTLED_S or left_jobs < 0 or left_bytes < 0:
                    return
                self._after = one.sequence
                if (deadline := self.of(one)) is not None:
                    heapq.heappush(self._waiting, (deadline, one.sequence))

    def due(self, *, now: float) -> int | None:
        """Give the sequence of the first job whose deadline has passed; it stays the first."""
        return self._waiting[0][1] if self._waiting and self._waiting[0][0] <= now else None

    def done(self, *, again_at: float | None = None) -> None:
        """Take the first one out, or have another look at it at a time."""
        _, sequence = heapq.heappop(self._waiting)
        if again_at is not None:
            heapq.heappush(self._waiting, (again_at, sequence))

    def of(self, one: Queued) -> float | None:
        """Say when a job has to end; at once if what it says cannot be read."""
        try:
            envelope = decode_envelope(
                one.subject, one.headers, stream=one.stream, sequence=one.sequence
            )
        except JobRejected:
            return one.written_at
        return deadline_of(
            deadline=envelope.deadline,
            tier=envelope.tier,
            published_at=one.written_at,
            realtime_deadline_s=self._realtime_deadline_s,
        )
