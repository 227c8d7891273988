"""How far a batch is: its manifest and the lines of its results, folded into numbers."""

from collections import deque
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

import msgspec

from fleet.job import ResultLine
from fleet.manifest import Manifest, job_number, starts

Status: TypeAlias = Literal["in_progress", "completed", "cancelling", "cancelled"]
FINAL: Final[frozenset[Status]] = frozenset({"completed", "cancelled"})


class RequestCounts(msgspec.Struct, frozen=True):
    """Requests of a batch; those that are neither completed nor failed are still to do."""

    total: int
    completed: int
    failed: int

    @property
    def done(self) -> int:
        """Those that have their line, good or bad."""
        return self.completed + self.failed


class BatchUsage(msgspec.Struct, frozen=True):
    """Tokens of a batch: each prompt once and each output token once."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


class FleetStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What OpenAI's batch object has no word for.

    interruptions: consumers that items outlived, summed. cost_usd: None where no node has a price.
    duplicate_lines: further lines of items that had one; they are not used. foreign_lines: lines
    that belong to no item of the batch.
    """

    tenant: str
    tier: str
    input_sha256: str
    jobs: int
    submitted_jobs: int
    interruptions: int
    cost_usd: float | None
    duplicate_lines: int
    foreign_lines: int


class BatchStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A batch in the words of OpenAI's batch object. Times are seconds since the epoch."""

    id: str
    object: Literal["batch"] = "batch"
    model: str
    input_file: str
    completion_window: str | None
    status: Status
    created_at: int
    expires_at: int | None
    request_counts: RequestCounts
    usage: BatchUsage
    fleet: FleetStatus


class Tally:
    """Adds up a batch's result lines; the first line of an item counts, as in its log.

    sequence: of the last message that was added, for whoever reads the log in pieces.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.sequence = 0
        self._batch = manifest.id
        self._starts = starts(manifest.layout)
        self._seen = bytearray(self._starts[-1])
        self._failed = 0
        self._input_tokens = 0
        self._output_tokens = 0
        self._interruptions = 0
        self._cost_usd: float | None = None
        self._duplicates = 0
        self._foreign = 0

    def add(self, job: str, lines: Iterable[ResultLine]) -> list[ResultLine]:
        """Count the lines of one message of the log; return those that are used."""
        used: list[ResultLine] = []
        for line in lines:
            place = self._place(job, line)
            if place is None:
                self._foreign += 1
            elif self._seen[place]:
                self._duplicates += 1
            else:
                self._seen[place] = 1
                self._count(line)
                used.append(line)
        return used

    def status(self, manifest: Manifest) -> BatchStatus:
        """Say where the batch stands; `manifest` may be newer than the one that was begun with."""
        failed, done = self._failed, self._seen.count(1)
        return BatchStatus(
            id=manifest.id,
            model=manifest.model,
            input_file=manifest.input_name,
            completion_window=_window(manifest.completion_window_s),
            status=self._state(manifest),
            created_at=int(manifest.created_at),
            expires_at=None if manifest.deadline is None else int(manifest.deadline),
            request_counts=RequestCounts(len(self._seen), done - failed, failed),
            usage=BatchUsage(
                self._input_tokens, self._output_tokens, self._input_tokens + self._output_tokens
            ),
            fleet=FleetStatus(
                tenant=manifest.tenant,
                tier=manifest.tier,
                input_sha256=manifest.input_sha256,
                jobs=manifest.jobs,
                submitted_jobs=manifest.submitted_jobs,
                interruptions=self._interruptions,
                cost_usd=self._cost_usd,
                duplicate_lines=self._duplicates,
                foreign_lines=self._foreign,
            ),
        )

    def _place(self, job: str, line: ResultLine) -> int | None:
        number = job_number(self._batch, job)
        if number is None or number + 1 >= len(self._starts):
            return None
        place = self._starts[number] + line.fleet.item
        return place if self._starts[number] <= place < self._starts[number + 1] else None

    def _count(self, line: ResultLine) -> None:
        usage = line.usage or {}
        self._failed += line.error is not None
        self._input_tokens += usage.get("prompt_tokens", 0)
        self._output_tokens += usage.get("completion_tokens", 0)
        self._interruptions += line.fleet.interruptions
        if line.fleet.cost_usd is not None:
            self._cost_usd = (self._cost_usd or 0.0) + line.fleet.cost_usd

    def _state(self, manifest: Manifest) -> Status:
        if not manifest.is_cancelled:
            return "in_progress" if 0 in self._seen else "completed"
        # Jobs that were never submitted get no line, so nothing is waited for there.
        submitted = self._starts[manifest.submitted_jobs]
        return "cancelling" if self._seen.find(0, 0, submitted) >= 0 else "cancelled"


class Pace:
    """How fast items get done, over the last minute: an old rate says nothing about the fleet."""

    WINDOW_S: Final = 60.0

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def eta_s(self, now: float, counts: RequestCounts) -> float | None:
        """Note the count at `now` (any clock) and return the seconds left; None while unknown."""
        self._points.append((now, counts.done))
        while now - self._points[0][0] > self.WINDOW_S:
            self._points.popleft()
        since, before = self._points[0]
        if counts.done <= before:
            return None
        return (counts.total - counts.done) * (now - since) / (counts.done - before)


def _window(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    hours = seconds / 3600
    return f"{hours:.0f}h" if hours.is_integer() else f"{seconds:g}s"
