"""Questions to the manager that leads, by request and reply: why does this batch wait?"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Never

import msgspec

from fleet.broker.answers import NobodyListens
from fleet.broker.connection import Connection, Message
from fleet.errors import BrokerRefused, BrokerUnreachable, NotFound, UsageError
from fleet.pool.decision import Outlook
from fleet.subjects import plain, token

WAITING: Final = 64
MOST_BYTES: Final = 1024


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """Asks how a batch stands, by its name `<tenant>.<batch>`."""

    batch: str


class Stands(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. outlook: None for a batch that had no open items at the last look."""

    by: str
    outlook: Outlook | None


async def serve(
    connection: Connection,
    model: str,
    *,
    by: str,
    leads: Callable[[], bool],
    why: Callable[[str], Outlook | None],
) -> Never:
    """Answer for as long as this manager leads; who stands by says nothing."""
    waiting: asyncio.Queue[Message] = asyncio.Queue(WAITING)

    def receive(message: Message) -> None:
        with suppress(asyncio.QueueFull):  # its sender gets no answer, and asks again
            waiting.put_nowait(message)

    subscription = await connection.subscribe(_subject(model), receive)
    try:
        while True:
            message = await waiting.get()
            if message.reply and leads() and len(message.payload) <= MOST_BYTES:
                with suppress(msgspec.MsgspecError, ValueError, RecursionError):
                    asked = msgspec.json.decode(message.payload, type=Why)
                    answer = msgspec.json.encode(Stands(by=by, outlook=why(asked.batch)))
                    with suppress(BrokerUnreachable, UsageError):
                        await connection.publish(message.reply, answer)
    finally:
        await subscription.unsubscribe()


async def ask(connection: Connection, model: str, batch: str, *, wait_s: float = 3.0) -> Stands:
    """Ask the manager of a model's pool.

    Raises NotFound where none runs, BrokerUnreachable where none answers in time, BrokerRefused.
    """
    question = msgspec.json.encode(Why(batch=batch))
    try:
        message = await connection.request(_subject(model), question, wait_s=wait_s)
    except NobodyListens as error:
        raise NotFound(
            f"no manager runs the pool of {model}: `fleet pool run` starts one"
        ) from error
    try:
        return msgspec.json.decode(message.payload, type=Stands)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BrokerRefused(
            f"what answers for the pool of {model} is another version ({plain(str(error))}): "
            "run the manager and the command from the same one"
        ) from error


def _subject(model: str) -> str:
    # Beside the nodes': who may give orders may ask.
    return f"control.pool_{token(model, what='model')}"
