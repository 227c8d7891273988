"""One manager acts and the others stand by: a lease in the bucket `policy`.

Every renewal is compare-and-swap on the revision of the one before, and the server lets the key
expire. Whoever leads believes so for a shorter time than the server does, by a clock that counts
while the machine sleeps, so that two never believe it at once.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from typing import Final, Never

import msgspec

from fleet.broker.connection import Connection
from fleet.broker.kv import Bucket
from fleet.errors import BrokerRefused, BrokerUnreachable, CorruptRecord, LeaseLost
from fleet.subjects import POLICY, token

TTL_S: Final = 15.0
# Renewed so many times while it holds: two answers may be lost.
RENEWALS: Final = 3
# What is left of a lease is too little to begin anything with.
SURE_SHARE: Final = 0.8

log = logging.getLogger(__name__)


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who leads. since: seconds since the epoch.

    token: no other process has it. beat: grows with each try, so that a renewal whose answer was
    lost is not taken for a later one.
    """

    by: str
    token: str
    beat: int
    since: float


def steady() -> float:
    """Seconds that never go back, and that count while the machine sleeps where it can tell."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def lease_key(model: str) -> str:
    """Name the lease of a model's pool."""
    return f"leader.{token(model, what='model')}"


class Leader:
    """Tries to lead, and to go on leading. by: a name for people. clock: as `steady`."""

    def __init__(
        self,
        connection: Connection,
        model: str,
        *,
        by: str,
        ttl_s: float = TTL_S,
        clock: Callable[[], float] = steady,
    ) -> None:
        self._bucket = Bucket(connection, POLICY, Holder)
        self._key = lease_key(model)
        self._ttl_s = ttl_s
        self._clock = clock
        self._me = Holder(by=by, token=secrets.token_hex(8), beat=0, since=time.time())
        self._revision: int | None = None
        self._sure_until = 0.0
        self.changed = asyncio.Event()

    @property
    def leads(self) -> bool:
        """Whether nobody else can act now. To be asked before each thing that must be done once."""
        return self._revision is not None and self._clock() < self._sure_until

    async def follow(self) -> Never:
        """Try again and again; only cancelling ends it."""
        while True:
            await self.look()
            await asyncio.sleep(self._ttl_s / RENEWALS)

    async def look(self) -> bool:
        """Try once to take or to keep the lease; say whether we lead."""
        led = self.leads
        try:
            await self._renew()
        except LeaseLost:
            self._revision = None
            await self._find_own()
        except (BrokerUnreachable, BrokerRefused) as error:
            log.warning("the lease was not renewed", extra={"error": str(error)})
        if self.leads != led:
            log.info("leads now" if self.leads else "stands by", extra={"lease": self._key})
            self.changed.set()
        return self.leads

    async def holder(self) -> Holder | None:
        """Read who leads. Raises BrokerRefused, BrokerUnreachable."""
        try:
            entry = await self._bucket.get(self._key)
        except CorruptRecord:
            return None
        return entry.value if entry else None

    async def give_up(self) -> None:
        """Let another one lead at once, if we do."""
        revision, self._revision = self._revision, None
        if revision is None:
            return
        try:
            await self._bucket.forget(self._key, revision=revision)
        except (LeaseLost, BrokerUnreachable, BrokerRefused) as error:
            log.info("the lease was left to expire", extra={"error": str(error)})

    async def _renew(self) -> None:
        asked_at = self._clock()
        self._me = msgspec.structs.replace(self._me, beat=self._me.beat + 1)
        self._revision = await self._bucket.put(
            self._key, self._me, revision=self._revision or 0, ttl_s=self._ttl_s
        )
        self._sure_until = asked_at + self._ttl_s * SURE_SHARE

    async def _find_own(self) -> None:
        """Find a renewal of ours whose answer was lost: the next one goes on from it.

        Until then we are as sure as we were, and no surer.
        """
        try:
            entry = await self._bucket.get(self._key)
        except CorruptRecord as error:
            # Whatever lies there, nobody can lead by it.
            self._revision = error.revision
            self._sure_until = 0.0
            return
        except (BrokerUnreachable, BrokerRefused):
            return
        if entry is not None and entry.value.token == self._me.token:
            self._revision = entry.revision
