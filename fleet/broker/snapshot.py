"""Copying a stream out of the broker and into one, messages, sequences and durables as they are."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from fleet.broker.answers import read_answer, read_part
from fleet.broker.connection import Connection, Message
from fleet.errors import BrokerRefused, BrokerUnreachable, FleetError
from fleet.job import MIB

CHUNK_BYTES: Final = MIB // 4
# How long the server may be silent within a copy: it checks a stream's sums before the first chunk.
SILENCE_S: Final = 60.0


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """What the server says of a stream that it hands out: all that it needs to take it back."""

    config: dict[str, Any]
    state: dict[str, Any]

    @property
    def messages(self) -> int:
        """How many there are."""
        return int(self.state.get("messages", 0))

    @property
    def name(self) -> str:
        """The stream's."""
        return str(self.config["name"])


class _Restoring(msgspec.Struct, frozen=True):
    deliver_subject: str


class Snapshot:
    """A stream on its way out. Made by `snapshot`; read its chunks to the end."""

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection = connection
        self._stream = stream
        self._arrived: asyncio.Queue[Message] = asyncio.Queue()
        self._inbox = connection.new_inbox()

    async def begin(self) -> Copied:
        """Have the server begin. Raises BrokerRefused for a stream that is none."""
        self._subscription = await self._connection.subscribe(self._inbox, self._arrived.put_nowait)
        body = {"deliver_subject": self._inbox, "chunk_size": CHUNK_BYTES, "jsck": True}
        name = f"STREAM.SNAPSHOT.{self._stream}"
        try:
            reply = await self._connection.request(
                f"$JS.API.{name}", msgspec.json.encode(body), wait_s=SILENCE_S
            )
            return read_part(name, read_answer(name, reply.payload), Copied)
        except FleetError:
            await self._subscription.unsubscribe()
            raise

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the stream's bytes. Raises BrokerUnreachable, BrokerRefused if it breaks off."""
        try:
            while chunk := await self._next():
                yield chunk
        finally:
            await self._subscription.unsubscribe()

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(SILENCE_S):
                message = await self._arrived.get()
        except TimeoutError as error:
            raise BrokerUnreachable(
                f"the copy of {self._stream} stopped in the middle: check the server's log and "
                "disk, then begin again"
            ) from error
        if message.status is not None and message.status != "204":
            raise BrokerRefused(
                f"the copy of {self._stream} broke off: {message.status} {message.description}"
            )
        if message.reply:
            # The server sends no more than some chunks that nobody has confirmed.
            await self._connection.publish(message.reply)
        return message.payload


async def restore(connection: Connection, copied: Copied, chunks: AsyncIterator[bytes]) -> None:
    """Have the server take a stream that it has not. Raises ApiError, BrokerUnreachable."""
    name = f"STREAM.RESTORE.{copied.name}"
    answer = await connection.api(name, {"config": copied.config, "state": copied.state})
    to = read_part(name, answer, _Restoring).deliver_subject
    async for chunk in chunks:
        reply = await connection.request(to, chunk, wait_s=SILENCE_S)
        if reply.payload:
            read_answer(name, reply.payload)
    reply = await connection.request(to, b"", wait_s=SILENCE_S)
    read_answer(name, reply.payload)
