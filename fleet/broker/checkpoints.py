"""What of a claim is too large for its bucket: saved items, in the object store."""

import hashlib
import logging
from typing import Final

import msgspec

from fleet.blob import blob_key
from fleet.broker.connection import Connection
from fleet.broker.objects import Objects
from fleet.claim import Elsewhere, Saved
from fleet.errors import (
    BlobChanged,
    BlobError,
    BrokerRefused,
    BrokerUnreachable,
    JobRejected,
    StoreRefused,
)
from fleet.job import MIB

MAX_CHECKPOINT_BYTES: Final = 32 * MIB
# JobRejected: the claim names what is no name. The last two: what the decoder lets through.
_UNUSABLE: Final = (
    BlobError, BrokerRefused, JobRejected, msgspec.MsgspecError, ValueError, RecursionError
)  # fmt: skip

log = logging.getLogger(__name__)


class Checkpoints:
    """Keeps large checkpoints beside their claims; every one is written once and never changed.

    A name holds its writer and its content: nobody's clean-up removes what another's claim names.
    """

    def __init__(self, connection: Connection) -> None:
        self._objects = Objects(connection)
        # By job, what its newest claim names, as far as we know.
        self._named: dict[tuple[str, str], Elsewhere] = {}

    async def write(
        self, tenant: str, job: str, saved: tuple[Saved, ...], *, writer: str
    ) -> Elsewhere | None:
        """Store saved items; None, with a warning, if the store does not take them."""
        data = msgspec.json.encode(saved)
        place = Elsewhere(writer, hashlib.sha256(data).hexdigest())
        try:
            await self._objects.put(_key(tenant, job, place), data)
        except (BlobChanged, StoreRefused, BrokerRefused, BrokerUnreachable) as error:
            _warn("a large checkpoint could not be stored: a part of it is left out", job, error)
            return None
        return place

    async def read(self, tenant: str, job: str, place: Elsewhere) -> tuple[Saved, ...]:
        """Read saved items; none, with a warning, if they are gone or not what they were.

        Raises BrokerUnreachable: nothing is known then.
        """
        self._named[tenant, job] = place
        try:
            data = await self._objects.get(
                _key(tenant, job, place), limit_bytes=MAX_CHECKPOINT_BYTES, sha256=place.sha256
            )
            return msgspec.json.decode(data, type=tuple[Saved, ...])
        except _UNUSABLE as error:
            _warn("a large checkpoint cannot be used: the job starts from its log", job, error)
        return ()

    async def named(self, tenant: str, job: str, place: Elsewhere | None) -> None:
        """Take notice that a job's claim names `place` now, and remove what it named before."""
        before = self._named.pop((tenant, job), None)
        if place is not None:
            self._named[tenant, job] = place
        if before is not None and before != place:
            await self.remove(tenant, job, before)

    async def remove(self, tenant: str, job: str, place: Elsewhere) -> None:
        """Remove what no claim names; what cannot be removed expires."""
        try:
            await self._objects.delete(_key(tenant, job, place))
        except (BrokerRefused, BrokerUnreachable, JobRejected) as error:
            _warn("a large checkpoint could not be removed: it expires", job, error)


def _key(tenant: str, job: str, place: Elsewhere) -> str:
    return blob_key(tenant, f"checkpoint.{job}.{place.writer}.{place.sha256}")


def _warn(text: str, job: str, error: Exception) -> None:
    log.warning(text, extra={"job_id": job, "error": str(error)})
