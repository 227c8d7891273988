"""Who used how much of the engine, so that a node's price can be shared out to items."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from fleet.events import UsageRecorded
from fleet.job import Job, ResultLine, Tier


class Written(Protocol):
    """Hears of lines that are safe in the result log."""

    def __call__(self, job: Job, lines: Sequence[ResultLine], *, complete: bool) -> None:
        """Take them; complete: whether these are the job's last."""
        ...


class ShareClock:
    """A clock that runs at 1/n while n items run.

    The difference of two readings is the time of the whole engine that one of the items in between
    used; the differences of all items sum to the time in which any item ran. busy_s: that time.
    stall_s: in which none ran, and something was being written. busy_from: since when any runs, or
    when one last began to after none did.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._at = now()
        self._reading = 0.0
        self._running = 0
        self._writing = 0
        self.busy_s = 0.0
        self.stall_s = 0.0
        self.busy_from = self._at

    def enter(self) -> float:
        """Begin an item; return the reading."""
        self._advance()
        if not self._running:
            self.busy_from = self._at
        self._running += 1
        return self._reading

    def leave(self) -> float:
        """End an item; return the reading."""
        self._advance()
        self._running -= 1
        return self._reading

    def read(self) -> float:
        """Return the reading, and bring the totals up to now."""
        self._advance()
        return self._reading

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Count the time of the body as a stall while no item runs."""
        self._advance()
        self._writing += 1
        try:
            yield
        finally:
            self._advance()
            self._writing -= 1

    def _advance(self) -> None:
        now = self._now()
        if self._running:
            self._reading += (now - self._at) / self._running
            self.busy_s += now - self._at
        elif self._writing:
            self.stall_s += now - self._at
        self._at = now


class Share:
    """The time of the whole engine that one item used, and how much of it is safe.

    used_s: so far. Safe is what made a result line that is in the log, or tokens in a checkpoint.
    """

    def __init__(self) -> None:
        self._clock: ShareClock | None = None
        self._from = 0.0
        self._used_s = 0.0
        self._safe_s = 0.0

    def begin(self, clock: ShareClock) -> None:
        """Count from now on."""
        self._clock, self._from = clock, clock.enter()

    def end(self) -> None:
        """Count no more."""
        if self._clock is not None:
            self._used_s += self._clock.leave() - self._from
            self._clock = None

    @property
    def used_s(self) -> float:
        """Seconds of the engine."""
        return self._used_s + (self._clock.read() - self._from if self._clock else 0.0)

    def secure(self, used_s: float) -> float:
        """Note that what was made up to `used_s` is safe; return how much is so only now."""
        newly_s = max(0.0, used_s - self._safe_s)
        self._safe_s += newly_s
        return newly_s


class _Sum:
    def __init__(self) -> None:
        self.jobs = self.items = self.failed = self.prompt = self.completion = 0
        self.engine_s = 0.0


class Totals:
    """What this consumer did: totals since its start, and sums not yet told as usage records.

    tokens_generated counts what the engine made, items that end elsewhere included. clock: of this
    process, whichever engine it has. saved_at: when work was last made safe, by time.monotonic().
    told: called with lines that are safe.
    """

    def __init__(self, told: Written | None = None) -> None:
        self._told = told
        self.clock = ShareClock()
        self.saved_at = -math.inf
        self.tokens_generated = 0
        self.items_done = 0
        self._sums: dict[tuple[str, Tier, str | None], _Sum] = {}

    def written(
        self, job: Job, lines: Sequence[ResultLine], *, complete: bool, engine_s: float = 0.0
    ) -> None:
        """Count lines that are safe in the result log. engine_s: as `kept` takes it."""
        total = self._of(job)
        total.jobs += complete
        total.engine_s += engine_s
        for line in lines:
            usage = line.usage or {}
            total.items += 1
            total.failed += line.error is not None
            total.prompt += usage.get("prompt_tokens", 0)
            total.completion += usage.get("completion_tokens", 0)
        self.items_done += len(lines)
        self.saved_at = time.monotonic()
        if self._told:
            self._told(job, lines, complete=complete)

    @property
    def unsaved_s(self) -> float:
        """How long ago anything in hand was made safe; meaningless without work in hand."""
        return time.monotonic() - max(self.saved_at, self.clock.busy_from)

    def kept(self, job: Job, engine_s: float) -> None:
        """Count the engine's time whose product a checkpoint keeps."""
        self.saved_at = time.monotonic()
        if engine_s:
            self._of(job).engine_s += engine_s

    def _of(self, job: Job) -> _Sum:
        return self._sums.setdefault((job.tenant, job.tier, job.batch), _Sum())

    def records(self, *, at: float, node: str, model: str) -> list[UsageRecorded]:
        """Take the sums since the last call as events."""
        sums, self._sums = self._sums, {}
        return [
            UsageRecorded(
                at=at,
                node=node,
                tenant=tenant,
                model=model,
                tier=tier,
                batch=batch,
                jobs=total.jobs,
                items=total.items,
                failed_items=total.failed,
                prompt_tokens=total.prompt,
                completion_tokens=total.completion,
                engine_s=round(total.engine_s, 6),
            )
            for (tenant, tier, batch), total in sums.items()
        ]
