"""The batch's flags that a running consumer looks up: is it cancelled, may on-demand take it."""

import asyncio
import logging
import time

import msgspec

from fleet.broker.connection import Connection
from fleet.broker.kv import Bucket
from fleet.errors import BrokerRefused, BrokerUnreachable, CorruptRecord
from fleet.job import Job
from fleet.subjects import BATCHES, POLICY, batch_key

log = logging.getLogger(__name__)
FRESH_S = 1.0
POLL_S = 2.0
FALLBACK = "batch_fallback"


class BatchState(msgspec.Struct, frozen=True):
    """The part of a batch's manifest that a consumer needs."""

    state: str


class Cancellations:
    """Says whether a job's batch was cancelled; asks the broker at most once a second a batch."""

    def __init__(self, connection: Connection) -> None:
        self._batches = Bucket(connection, BATCHES, BatchState)
        self._seen: dict[str, tuple[float, bool]] = {}

    async def __call__(self, job: Job) -> bool:
        """Tell whether nothing of this job is wanted any more."""
        if job.batch is None:
            return False
        key, now = batch_key(job.tenant, job.batch), time.monotonic()
        at, cancelled = self._seen.get(key, (-FRESH_S, False))
        if now - at < FRESH_S:
            return cancelled
        try:
            entry = await self._batches.get(key)
        except CorruptRecord as error:
            # No reason to withhold an answer, and none to end: anyone may have written it.
            log.warning("batch not read", extra={"job": job.id, "error": str(error)})
            entry = None
        cancelled = entry is not None and entry.value.state in {"cancelling", "cancelled"}
        self._seen = {k: v for k, v in self._seen.items() if now - v[0] < FRESH_S}
        self._seen[key] = (now, cancelled)
        return cancelled


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
