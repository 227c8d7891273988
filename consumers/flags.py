"""The flags that a running consumer looks at: is a job cancelled, may on-demand take batches."""

import asyncio
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from fleet.broker.connection import Connection
from fleet.broker.kv import Bucket
from fleet.broker.news import BucketNews
from fleet.cancel import Mark
from fleet.errors import BrokerRefused, BrokerUnreachable, CorruptRecord
from fleet.job import Job
from fleet.subjects import BATCHES, CANCELS, POLICY, batch_key, cancel_key
from fleet.topology import BATCHES_AGE_S, CANCELS_AGE_S

log = logging.getLogger(__name__)
POLL_S = 2.0
FALLBACK = "batch_fallback"


class BatchState(msgspec.Struct, frozen=True):
    """The part of a batch's manifest that a consumer needs."""

    state: str


class Marks:
    """Keys that are marked, for as long as the broker keeps a mark.

    It tells nobody when one expires, and a name is its owner's to use again by then.
    """

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        # By key, when it is to be forgotten, the soonest first.
        self._until: dict[str, float] = {}

    def __contains__(self, key: str) -> bool:
        """Say whether a key is marked."""
        return self._until.get(key, -math.inf) > time.monotonic()

    def add(self, key: str) -> bool:
        """Mark a key from now on; say whether it was not yet."""
        now = time.monotonic()
        is_new = key not in self
        self._until.pop(key, None)
        self._until[key] = now + self._keep_s
        while self._until[oldest := next(iter(self._until))] <= now:
            del self._until[oldest]
        return is_new

    def discard(self, key: str) -> None:
        """Take a mark away, if there is one."""
        self._until.pop(key, None)


class Cancellations:
    """Says from memory which jobs and batches are cancelled, and wakes those that run one.

    `follow` keeps the memory fresh; until it has read what was cancelled before, who asks waits.
    """

    def __init__(self, connection: Connection) -> None:
        self._jobs = Marks(CANCELS_AGE_S)
        self._batches = Marks(BATCHES_AGE_S)
        self._sleepers: set[asyncio.Event] = set()
        self._news = (
            BucketNews(connection, CANCELS, Mark, self._mark),
            BucketNews(connection, BATCHES, BatchState, self._move),
        )

    async def __call__(self, job: Job) -> bool:
        """Tell whether nothing of this job is wanted any more."""
        for news in self._news:
            await news.loaded.wait()
        return cancel_key(job.tenant, job.id) in self._jobs or (
            job.batch is not None and batch_key(job.tenant, job.batch) in self._batches
        )

    @contextmanager
    def wakes(self, sleeper: asyncio.Event) -> Iterator[None]:
        """Set `sleeper` whenever something was cancelled while the body runs."""
        self._sleepers.add(sleeper)
        try:
            yield
        finally:
            self._sleepers.discard(sleeper)

    async def follow(self) -> None:
        """Keep the memory fresh until cancelled."""
        async with asyncio.TaskGroup() as group:
            for news in self._news:
                group.create_task(news.follow())

    def _mark(self, key: str, value: Mark | None) -> None:
        self._note(self._jobs, key, is_cancelled=value is not None)

    def _move(self, key: str, value: BatchState | None) -> None:
        is_cancelled = value is not None and value.state in {"cancelling", "cancelled"}
        self._note(self._batches, key, is_cancelled=is_cancelled)

    def _note(self, known: Marks, key: str, *, is_cancelled: bool) -> None:
        if not is_cancelled:
            known.discard(key)
        elif known.add(key):
            for sleeper in self._sleepers:
                sleeper.set()


class Fallback:
    """Whether on-demand may take batch jobs: a switch that the pool manager turns."""

    def __init__(self, connection: Connection, model: str) -> None:
        self._policy = Bucket(connection, POLICY, bool)
        self._key = f"{FALLBACK}.{model}"
        self.on = False

    async def follow(self) -> None:
        """Look at the switch until cancelled; what cannot be read changes nothing."""
        while True:
            try:
                entry = await self._policy.get(self._key)
                self.on = entry is not None and entry.value
            except (BrokerUnreachable, BrokerRefused, CorruptRecord) as error:
                log.warning("policy not read", extra={"error": str(error)})
            await asyncio.sleep(POLL_S)
