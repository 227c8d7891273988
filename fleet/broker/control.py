"""Orders to nodes by request and reply: the node's side, and the operator's."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Never

import msgspec

from fleet.broker.answers import NobodyListens
from fleet.broker.connection import Connection, Message
from fleet.broker.permit import check_allowed
from fleet.control import Declined, Heard, HurtOrder, Order, Reply, read_order
from fleet.errors import BrokerRefused, BrokerUnreachable, NotFound, UsageError
from fleet.subjects import control_subject, plain, shown

# Orders come one by one from people; who sends more than this at once is not heard.
WAITING: Final = 16

log = logging.getLogger(__name__)
_replies: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)


async def serve(
    connection: Connection,
    node: str,
    obey: Callable[[Order], Reply],
    hurt: Callable[[HurtOrder], Awaitable[None]],
) -> Never:
    """Call `obey` with every order to `node` and send back what it returns; never ends.

    hurt: does what a drill wants, once the answer is out. What is no order is answered with
    Declined, and so is a drill where drills are not allowed. Raises ConnectionLost.
    """
    waiting: asyncio.Queue[Message] = asyncio.Queue(WAITING)

    def receive(message: Message) -> None:
        with suppress(asyncio.QueueFull):  # its sender gets no answer, and asks again
            waiting.put_nowait(message)

    subscription = await connection.subscribe(control_subject(node), receive)
    try:
        while True:
            message = await waiting.get()
            try:
                order = read_order(message.payload)
                if order.source == "drill":
                    await check_allowed(connection)
                reply = obey(order)
            except (UsageError, BrokerRefused, BrokerUnreachable) as error:
                log.warning("an order was declined", extra={"cause": str(error)})
                order, reply = None, Declined(node=node, error=str(error))
            if message.reply:
                await _send(connection, message.reply, reply)
            if isinstance(order, HurtOrder):
                # A round trip, so that the answer is out. A broker that is gone asks for no harm.
                with suppress(BrokerUnreachable, BrokerRefused, UsageError):
                    await check_allowed(connection)
                    await hurt(order)
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


async def _send(connection: Connection, to: str, reply: Reply) -> None:
    try:
        await connection.publish(to, msgspec.json.encode(reply))
    except (BrokerUnreachable, UsageError) as error:
        log.warning("an order was obeyed, but not answered", extra={"cause": str(error)})
