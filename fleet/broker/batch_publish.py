"""Atomic batches (ADR-50): up to a thousand messages of one stream, stored all or none."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from fleet.broker.answers import read_answer
from fleet.broker.connection import ApiError, Connection, Receipt
from fleet.errors import BrokerUnreachable, UsageError

Outgoing: TypeAlias = tuple[str, bytes, Mapping[str, str]]
Sent: TypeAlias = Callable[[], None]

MAX_MESSAGES: Final = 1000
BATCH_ID: Final = "Nats-Batch-Id"
BATCH_SEQUENCE: Final = "Nats-Batch-Sequence"
BATCH_COMMIT: Final = "Nats-Batch-Commit"
# Every so many messages we wait for the server, so that no more than these are on the way at once.
PACE: Final = 500

# Messages of it got lost, or took over 10 s.
_INCOMPLETE: Final = 10176
_REMEDIES: Final[dict[int | None, str]] = {
    10077: "the queue is full: wait until it has drained, then publish the batch again",
    10174: "the stream takes no atomic batches: `fleet doctor` names the setting",
    10199: "it is too large: publish at most 1000 messages at once",
    10201: "it holds an id twice, or one that was published just now: publish only what is new",
}


async def publish_batch(
    connection: Connection, messages: Sequence[Outgoing], *, sent: Sent = lambda: None
) -> Receipt:
    """Publish (subject, payload, headers) messages of one stream as a whole.

    sent: called when the last of them goes out and only the server's answer is missing.

    Returns the receipt of the last one; the others have the sequences just before it. Raises
    UsageError unless there are 1 to MAX_MESSAGES, ApiError when the broker refuses (nothing is
    stored then), BrokerUnreachable when a part of it or the answer got lost: its text says if it
    may be stored.
    """
    if not 1 <= len(messages) <= MAX_MESSAGES:
        raise UsageError(f"a batch of {len(messages)} messages: publish 1 to {MAX_MESSAGES}")
    batch = secrets.token_hex(16)
    try:
        for sequence, (subject, payload, given) in enumerate(messages[:-1], 1):
            headers = {**given, BATCH_ID: batch, BATCH_SEQUENCE: str(sequence)}
            if sequence % PACE == 1:
                reply = await connection.request(subject, payload, headers=headers)
                if reply.payload:  # it says nothing if all is well
                    read_answer(subject, reply.payload)
            else:
                await connection.publish(subject, payload, headers=headers)
    except ApiError as error:
        raise _refused(error) from error
    except BrokerUnreachable as error:
        raise BrokerUnreachable(
            "no answer within the batch: nothing of it is stored, publish it again"
        ) from error
    subject, payload, given = messages[-1]
    headers = {**given, BATCH_ID: batch, BATCH_SEQUENCE: str(len(messages)), BATCH_COMMIT: "1"}
    sent()
    try:
        return await connection.append(subject, payload, headers=headers)
    except ApiError as error:
        raise _refused(error) from error
    except BrokerUnreachable as error:
        raise BrokerUnreachable(
            f"no answer to the batch of {len(messages)} messages: it is stored as a whole or not "
            "at all; publish it again with the same ids"
        ) from error


def _refused(error: ApiError) -> ApiError | BrokerUnreachable:
    if error.err_code == _INCOMPLETE:
        return BrokerUnreachable(
            f"a part of the batch got lost on its way, and nothing of it is stored ({error}): "
            "publish it again"
        )
    remedy = _REMEDIES.get(error.err_code, "see the message of the broker")
    return ApiError(
        f"the batch was refused and nothing of it is stored: {error}; {remedy}", error.err_code
    )
