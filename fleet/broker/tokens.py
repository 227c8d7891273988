"""The live token stream: deltas of running answers, kept for minutes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from fleet.broker.connection import Connection, Message
from fleet.broker.stored import messages
from fleet.job import TokenDelta
from fleet.subjects import TOKENS, tokens_subject

# Some 20 deltas a second: a reader may stand still for a minute.
BUFFER: Final = 1024


class TokenStream:
    """Publishes, reads and follows token deltas. Deltas are a courtesy: the result is the truth."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def publish(self, tenant: str, batch: str | None, job: str, delta: TokenDelta) -> None:
        """Send one delta. Nobody confirms it; the stream keeps it for ten minutes."""
        subject = tokens_subject(tenant, batch, job)
        await self._connection.publish(subject, msgspec.json.encode(delta))

    async def read(self, tenant: str, batch: str | None, job: str) -> list[TokenDelta]:
        """Read the deltas that are stored so far, oldest first; malformed ones are left out."""
        subject = tokens_subject(tenant, batch, job)
        payloads = [stored.payload async for stored in messages(self._connection, TOKENS, subject)]
        return [delta for payload in payloads if (delta := _decode(payload)) is not None]

    @asynccontextmanager
    async def subscribe(
        self, tenant: str, batch: str | None, job: str
    ) -> AsyncIterator[AsyncIterator[TokenDelta]]:
        """Give an iterator over the deltas from now on, which never ends by itself.

        Malformed deltas are left out. A reader that falls BUFFER deltas behind loses the oldest,
        and sees the gap in `offset`.
        """
        waiting: asyncio.Queue[TokenDelta] = asyncio.Queue(BUFFER)

        def keep(delta: TokenDelta) -> None:
            if waiting.full():
                waiting.get_nowait()
            waiting.put_nowait(delta)

        async def deltas() -> AsyncIterator[TokenDelta]:
            while True:
                yield await waiting.get()

        async with self.listen(tenant, batch, job, keep):
            yield deltas()

    @asynccontextmanager
    async def listen(
        self, tenant: str, batch: str | None, job: str, receive: Callable[[TokenDelta], None]
    ) -> AsyncIterator[None]:
        """Call `receive` with each delta from now on; malformed ones are left out."""

        def decode(message: Message) -> None:
            if (delta := _decode(message.payload)) is not None:
                receive(delta)

        subscription = await self._connection.subscribe(tokens_subject(tenant, batch, job), decode)
        try:
            yield
        finally:
            await subscription.unsubscribe()


def _decode(payload: bytes) -> TokenDelta | None:
    try:
        return msgspec.json.decode(payload, type=TokenDelta)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
