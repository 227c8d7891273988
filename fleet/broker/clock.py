"""The server's clock. Ages, leases and deadlines are told by it: the clocks of nodes differ."""

import asyncio
import logging
import time
from datetime import datetime
from typing import Final, Never

import msgspec

from fleet.broker.answers import read_part
from fleet.broker.connection import Connection
from fleet.errors import BrokerRefused, BrokerUnreachable

# Clocks drift by milliseconds a minute at worst, far below what any age is compared with.
REFRESH_S: Final = 60.0

log = logging.getLogger(__name__)


class _Info(msgspec.Struct, frozen=True):
    ts: datetime | None = None


class ServerClock:
    """Tells the server's time from our monotonic clock and one look at the server a minute.

    stream: any stream whose STREAM.INFO we may ask for; its answer holds the server's time.
    """

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection = connection
        self._stream = stream
        self._offset_s = 0.0
        self._looked_at: float | None = None

    async def now(self) -> float:
        """Seconds since the epoch at the server, exact to half a round trip."""
        if self._looked_at is None or time.monotonic() - self._looked_at > REFRESH_S:
            await self._look()
        return time.monotonic() + self._offset_s

    def told(self) -> float:
        """Say the same without asking, by the last look; before the first it is our own clock."""
        return time.time() if self._looked_at is None else time.monotonic() + self._offset_s

    async def look(self) -> None:
        """Look once; if the server does not tell, what was told before stays."""
        try:
            await self._look()
        except (BrokerUnreachable, BrokerRefused) as error:
            log.warning("the server did not tell its time", extra={"error": str(error)})

    async def follow(self) -> Never:
        """Look again each minute."""
        while True:
            await asyncio.sleep(REFRESH_S)
            await self.look()

    async def _look(self) -> None:
        asked = time.monotonic()
        server = await server_time(self._connection, self._stream)
        answered = time.monotonic()
        self._offset_s = server - (asked + answered) / 2
        self._looked_at = answered


async def server_time(connection: Connection, stream: str) -> float:
    """Ask the server what time it is: seconds since the epoch, at some moment of the call."""
    name = f"STREAM.INFO.{stream}"
    ts = read_part(name, await connection.api(name), _Info).ts
    if ts is None:
        raise BrokerRefused(f"{name} has no `ts`: use nats-server 2.12.5 or newer")
    return ts.timestamp()
