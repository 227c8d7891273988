"""Jobs on their way into the queue, many at a stroke."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from fleet.broker.batch_publish import MAX_MESSAGES, Outgoing, Sent, publish_batch
from fleet.broker.connection import Connection, Receipt
from fleet.errors import BrokerUnreachable
from fleet.job import MIB
from fleet.topology import DUPLICATE_WINDOW_S

TRIES: Final = 3
# One atomic publish: large enough to be quick, small enough to be sent in a second.
GROUP_JOBS: Final = MAX_MESSAGES
GROUP_BYTES: Final = 8 * MIB


async def publish(
    connection: Connection, messages: Sequence[Outgoing], *, sent: Sent = lambda: None
) -> Receipt:
    """Publish jobs of one stream, all or none; with no answer, again with the same ids.

    sent: called when all of it was handed to the connection and only the answer is missing.

    The first try may have been stored all the same. Then the queue holds the jobs twice, and the
    consumers, who know them by their ids, answer them once.
    """
    for _ in range(TRIES - 1):
        try:
            return await _publish_once(connection, messages, sent)
        except BrokerUnreachable:
            # Within the window an atomic publish of known ids is refused as a whole.
            await asyncio.sleep(2 * DUPLICATE_WINDOW_S)
    return await _publish_once(connection, messages, sent)


def grouped(messages: Iterable[Outgoing]) -> Iterator[list[Outgoing]]:
    """Cut a stream of messages into what is published at a stroke."""
    group: list[Outgoing] = []
    size = 0
    for message in messages:
        payload_bytes = len(message[1])
        if group and (len(group) == GROUP_JOBS or size + payload_bytes > GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(message)
        size += payload_bytes
    if group:
        yield group


async def _publish_once(
    connection: Connection, messages: Sequence[Outgoing], sent: Sent
) -> Receipt:
    if len(messages) > 1:
        return await publish_batch(connection, messages, sent=sent)
    sent()
    subject, payload, headers = messages[0]
    return await connection.append(subject, payload, headers=headers)


async def publish_all(
    connection: Connection, groups: Iterable[Sequence[Outgoing]]
) -> list[Receipt]:
    """Publish groups, each all or none, in order; return their receipts.

    The next group is sent while the server writes the last one to disk. When a group fails, the
    one behind it may be stored.
    """
    tasks: list[asyncio.Task[Receipt]] = []
    try:
        async with asyncio.TaskGroup() as under_way:
            for group in groups:
                sent = asyncio.Event()
                tasks.append(under_way.create_task(publish(connection, group, sent=sent.set)))
                await sent.wait()
                if len(tasks) > 1:
                    await tasks[-2]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return [task.result() for task in tasks]
