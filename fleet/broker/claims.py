"""The claims of jobs: who owns one, and what of it is saved."""

import logging
from typing import Final

import msgspec

from fleet.broker.checkpoints import MAX_CHECKPOINT_BYTES, Checkpoints
from fleet.broker.clock import ServerClock
from fleet.broker.connection import Connection
from fleet.broker.kv import Bucket
from fleet.claim import Claim, Saved
from fleet.errors import CorruptRecord, LeaseLost
from fleet.job import MIB
from fleet.subjects import CLAIMS, claim_key
from fleet.topology import bucket_stream

# Half of the server's max_payload: a claim always fits, whatever headers come with it.
MAX_CLAIM_BYTES: Final = MIB // 2
# Above it saved items go to the object store: a bucket is read whole by whoever watches it.
LARGE_CLAIM_BYTES: Final = MIB // 4
VERSION: Final = 1

log = logging.getLogger(__name__)


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What the bucket says of a job.

    claim: None if what lies there cannot be read; it may be written over at `revision`.
    age_s: seconds since it was written, by the server's clock.
    """

    claim: Claim | None
    revision: int
    age_s: float


class Claims:
    """Reads and guards claims; every write names the revision that it replaces."""

    def __init__(self, connection: Connection) -> None:
        self._bucket = Bucket(connection, CLAIMS, Claim, sealed=True)
        self._clock = ServerClock(connection, bucket_stream(CLAIMS))
        self._checkpoints = Checkpoints(connection)
        self._warned: set[str] = set()

    async def get(self, tenant: str, job: str) -> Held | None:
        """Read a job's claim; None if nobody holds or held it."""
        key = claim_key(tenant, job)
        claim: Claim | None
        try:
            entry = await self._bucket.get(key)
            if entry is None:
                return None
            claim, revision, written_at = entry.value, entry.revision, entry.written_at
            cause = f"version {claim.version}"
        except CorruptRecord as error:
            claim, revision, written_at = None, error.revision, error.written_at
            cause = str(error)
        if claim is None or claim.version != VERSION:
            claim = None
            self._warn(tenant, job, cause)
        elif claim.elsewhere is not None:
            saved = await self._checkpoints.read(tenant, job, claim.elsewhere)
            claim = msgspec.structs.replace(claim, saved=saved, elsewhere=None)
        age_s = max(0.0, await self._clock.now() - written_at)
        return Held(claim=claim, revision=revision, age_s=age_s)

    async def exists(self, tenant: str, job: str) -> bool:
        """Say whether anybody holds or held a job, whatever its claim says; a tenant may ask."""
        return await self._bucket.exists(claim_key(tenant, job))

    async def save(self, tenant: str, job: str, claim: Claim, *, revision: int) -> int:
        """Write a claim over `revision` (0: there is none) and return the new revision.

        Large checkpoints go to the object store first, and the claim names them; where that fails,
        a claim over MAX_CLAIM_BYTES is saved without the items that have least to lose. Raises
        LeaseLost when another consumer wrote since, BrokerUnreachable when it stays unclear; saying
        the same again is safe then, for one's own write is recognised.
        """
        stored = await self._fitted(tenant, job, claim)
        try:
            revision = await self._bucket.put(claim_key(tenant, job), stored, revision=revision)
        except LeaseLost:
            if stored.elsewhere is not None:
                await self._checkpoints.remove(tenant, job, stored.elsewhere)
            raise
        await self._checkpoints.named(tenant, job, stored.elsewhere)
        return revision

    async def forget(self, tenant: str, job: str, revision: int) -> None:
        """Remove the claim of a settled job. Raises LeaseLost when it is another's by now."""
        await self._bucket.forget(claim_key(tenant, job), revision=revision)
        await self._checkpoints.named(tenant, job, None)

    async def _fitted(self, tenant: str, job: str, claim: Claim) -> Claim:
        """Make a claim fit into the bucket, with as little left out as can be."""
        if len(msgspec.json.encode(claim)) <= LARGE_CLAIM_BYTES:
            return claim
        whole = fitted(claim, limit_bytes=MAX_CHECKPOINT_BYTES)
        place = await self._checkpoints.write(tenant, job, whole.saved, writer=claim.writer)
        if place is None:
            return fitted(claim)
        return msgspec.structs.replace(claim, saved=(), elsewhere=place)

    def _warn(self, tenant: str, job: str, cause: str) -> None:
        key = claim_key(tenant, job)
        if key not in self._warned:
            self._warned.add(key)
            log.warning(
                "a stored claim cannot be used: the job starts from its result log",
                extra={"job_id": job, "tenant": tenant, "cause": cause},
            )


def fitted(claim: Claim, *, limit_bytes: int = MAX_CLAIM_BYTES) -> Claim:
    """Leave out saved items until the claim fits: those with most tokens done are kept first.

    Items that are left out restart from zero, so what is lost is as little as can be.
    """
    if len(msgspec.json.encode(claim)) <= limit_bytes:
        return claim
    left = limit_bytes - len(msgspec.json.encode(msgspec.structs.replace(claim, saved=())))
    kept: list[Saved] = []
    for saved in sorted(claim.saved, key=lambda saved: len(saved.done_ids), reverse=True):
        size = len(msgspec.json.encode(saved)) + 1
        if size <= left:
            kept.append(saved)
            left -= size
    kept.sort(key=lambda saved: saved.index)
    return msgspec.structs.replace(claim, saved=tuple(kept))
