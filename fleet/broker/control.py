"""Orders to nodes by request and reply: the node's side, and the operator's."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Never

import msgspec

from fleet.broker.answers import NobodyListens
from fleet.broker.connection import Connection, Message
from fleet.control import Declined, Heard, Order, Reply, read_order
from fleet.errors import BrokerRefused, BrokerUnreachable, NotFound, UsageError
from fleet.subjects import control_subject, plain, shown

# Orders come one by one from people; who sends more than this at once is not heard.
WAITING: Final = 16

log = logging.getLogger(__name__)
_replies: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)


async def serve(connection: Connection, node: str, obey: Callable[[Order], Reply]) -> Never:
    """Call `obey` with every order to `node` and send back what it returns; never ends.

    What is no order is answered with Declined. Raises ConnectionLost.
    """
    waiting: asyncio.Queue[Message] = asyncio.Queue(WAITING)

    def receive(message: Message) -> None:
        with suppress(asyncio.QueueFull):  # its sender gets no answer, and asks again
            waiting.put_nowait(message)

    subscription = await connection.subscribe(control_subject(node), receive)
    try:
        while True:
            message = await waiting.get()
            reply = _answer(message.payload, node, obey)
            if message.reply:
                await _send(connection, message.reply, reply)
    finally:
        await subscription.unsubscribe()


async def ask(connection: Connection, node: str, order: Order, *, wait_s: float = 3.0) -> Heard:
    """Give a node an order; return once it has obeyed.

    Raises NotFound where no such node listens, BrokerUnreachable when it does not answer in time,
    BrokerRefused when it declines, JobRejected for a name that is none.
    """
    subject = control_subject(node)
    try:
        message = await connection.request(subject, msgspec.json.encode(order), wait_s=wait_s)
    except NobodyListens as error:
        raise NotFound(f"no node {shown(node)} listens: see `fleet nodes` for who lives") from error
    except BrokerUnreachable as error:
        raise BrokerUnreachable(
            f"node {shown(node)} did not answer within {wait_s:g} s: it may be frozen or just "
            "gone; see `fleet nodes`, and try again"
        ) from error
    try:
        reply = _replies.decode(message.payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BrokerRefused(
            f"what answers on {subject} is no node of ours ({error}): check who listens there"
        ) from error
    if isinstance(reply, Declined):
        raise BrokerRefused(f"node {shown(node)} declines: {plain(reply.error)}")
    return reply


def _answer(payload: bytes, node: str, obey: Callable[[Order], Reply]) -> Reply:
    try:
        order = read_order(payload)
    except UsageError as error:
        log.warning("an order was declined", extra={"cause": str(error)})
        return Declined(node=node, error=str(error))
    return obey(order)


async def _send(connection: Connection, to: str, reply: Reply) -> None:
    try:
        await connection.publish(to, msgspec.json.encode(reply))
    except (BrokerUnreachable, UsageError) as error:
        log.warning("an order was obeyed, but not answered", extra={"cause": str(error)})
