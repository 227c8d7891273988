"""Who used how much of the engine, so that a node's price can be shared out to items."""

import time
from collections.abc import Callable, Sequence

from fleet.events import UsageRecorded
from fleet.job import Job, ResultLine, Tier


class ShareClock:
    """A clock that runs at 1/n while n items run.

    The difference of two readings is the time of the whole engine that one of the items in between
    used; the differences of all items sum to the time in which any item ran.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._at = now()
        self._reading = 0.0
        self._running = 0

    def enter(self) -> float:
        """Begin an item; return the reading."""
        self._advance()
        self._running += 1
        return self._reading

    def leave(self) -> float:
        """End an item; return the reading."""
        self._advance()
        self._running -= 1
        return self._reading

    def _advance(self) -> None:
        now = self._now()
        if self._running:
            self._reading += (now - self._at) / self._running
        self._at = now


class _Sum:
    def __init__(self) -> None:
        self.jobs = self.items = self.failed = self.prompt = self.completion = 0


class Totals:
    """What this consumer did: totals since its start, and sums not yet told as usage records.

    tokens_generated counts what the engine made, items that end elsewhere included.
    """

    def __init__(self) -> None:
        self.tokens_generated = 0
        self.items_done = 0
        self._sums: dict[tuple[str, Tier, str | None], _Sum] = {}

    def written(self, job: Job, lines: Sequence[ResultLine], *, complete: bool) -> None:
        """Count lines that are safe in the result log."""
        total = self._sums.setdefault((job.tenant, job.tier, job.batch), _Sum())
        total.jobs += complete
        for line in lines:
            usage = line.usage or {}
            total.items += 1
            total.failed += line.error is not None
            total.prompt += usage.get("prompt_tokens", 0)
            total.completion += usage.get("completion_tokens", 0)
        self.items_done += len(lines)

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
            )
            for (tenant, tier, batch), total in sums.items()
        ]
