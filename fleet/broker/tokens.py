"""The live token stream: deltas of running answers, kept for minutes.

A consumer writes under one name, guarded by the sequence it follows, and the server stores and
tells under another what it took. So nobody hears a word of a consumer that has lost its job, and
who listens gets the sequence of each message and of the one before it.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from fleet.broker.connection import ApiError, Connection, Message
from fleet.broker.fenced import EXPECTED, TRIES, WRONG_LAST
from fleet.broker.headers import whole
from fleet.broker.log_state import CLAIM_RECORD, ClaimRecord
from fleet.broker.stored import last_message, messages
from fleet.errors import BrokerUnreachable, LeaseLost
from fleet.job import TokenDelta
from fleet.subjects import TOKENS, tell_subject, tokens_subject
from fleet.wire import RECORD, WRITER

_SEQUENCE: Final = "Nats-Sequence"
_PREVIOUS: Final = "Nats-Last-Sequence"


class TokenMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a job's token stream.

    previous: sequence of the message before it on the subject, 0 for the first; None where that is
    not known. writer: whose run wrote it; None for what none of ours did. delta: None for the
    record of a take-over and for what is no delta.
    """

    sequence: int
    previous: int | None = None
    writer: str | None = None
    delta: TokenDelta | None = None


class TokenStream:
    """Reads and follows token streams. Deltas are a courtesy: the result is the truth."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def teller(self, tenant: str, batch: str | None, job: str, *, writer: str) -> "Teller":
        """Give what writes to a job's stream for the run whose token is `writer`."""
        return Teller(self._connection, tenant, batch, job, writer=writer)

    async def read(
        self, tenant: str, batch: str | None, job: str, *, after: int = 0
    ) -> list[TokenMessage]:
        """Read what is stored behind sequence `after`, oldest first.

        Raises BrokerRefused, BrokerUnreachable.
        """
        subject = tokens_subject(tenant, batch, job)
        return [
            _message(stored.sequence, None, stored.headers, stored.payload)
            async for stored in messages(self._connection, TOKENS, subject, after=after)
        ]

    @asynccontextmanager
    async def listen(
        self, tenant: str, batch: str | None, job: str, receive: Callable[[TokenMessage], None]
    ) -> AsyncIterator[None]:
        """Call `receive` with each message that is stored from now on."""

        def decode(message: Message) -> None:
            sequence = whole(message.headers.get(_SEQUENCE, ""))
            previous = whole(message.headers.get(_PREVIOUS, ""))
            # What has none did not come from the stream.
            if sequence is not None and previous is not None:
                receive(_message(sequence, previous, message.headers, message.payload))

        subscription = await self._connection.subscribe(tokens_subject(tenant, batch, job), decode)
        try:
            yield
        finally:
            await subscription.unsubscribe()


class Teller:
    """Writes one job's token stream for one run, one message at a time.

    Every message names the one that it follows. If another run has written since, the job is that
    run's, and ours has nothing to say any more: LeaseLost.
    """

    def __init__(
        self, connection: Connection, tenant: str, batch: str | None, job: str, *, writer: str
    ) -> None:
        self._connection = connection
        self._stream = TokenStream(connection)
        self._place = (tenant, batch, job)
        self._writer = writer
        self._last = 0

    async def take_over(self, *, node: str) -> list[TokenMessage]:
        """Write the record behind which no former owner is heard; return all that was said before.

        Raises BrokerRefused, BrokerUnreachable.
        """
        record = msgspec.json.encode(ClaimRecord(node=node, at=time.time()))
        headers = {WRITER: self._writer, RECORD: CLAIM_RECORD}
        # Not guarded: whoever writes meanwhile is heard before it, or not at all.
        receipt = await self._connection.append(tell_subject(*self._place), record, headers=headers)
        self._last = receipt.sequence
        said = await self._stream.read(*self._place)
        return [message for message in said if message.sequence < receipt.sequence]

    async def tell(self, delta: TokenDelta) -> None:
        """Store one delta. Raises LeaseLost, BrokerRefused.

        And BrokerUnreachable where no answer came: the delta may be stored or not, and saying it
        again is right in both cases.
        """
        subject, payload = tell_subject(*self._place), msgspec.json.encode(delta)
        for _ in range(TRIES):
            headers = {WRITER: self._writer, EXPECTED: str(self._last)}
            try:
                receipt = await self._connection.append(subject, payload, headers=headers)
            except ApiError as error:
                if error.err_code not in WRONG_LAST:
                    raise
                await self._catch_up(error)
            else:
                self._last = receipt.sequence
                return
        raise BrokerUnreachable(f"the end of {subject} cannot be found: try again")

    async def _catch_up(self, refusal: ApiError) -> None:
        """Find the end of the stream. Raises LeaseLost if another run has written there.

        Otherwise it was a write of our own whose answer got lost, or nobody's.
        """
        behind = await self._stream.read(*self._place, after=self._last)
        if any(message.writer not in {None, self._writer} for message in behind):
            raise LeaseLost(
                f"writing to {tokens_subject(*self._place)} was refused: another consumer has it "
                "now; say nothing more"
            ) from refusal
        if behind:
            self._last = behind[-1].sequence
        else:
            # What we followed is too old to be kept, or a power cut took it.
            stored = await last_message(self._connection, TOKENS, tokens_subject(*self._place))
            self._last = stored.sequence if stored else 0


def _message(
    sequence: int, previous: int | None, headers: Mapping[str, str], payload: bytes
) -> TokenMessage:
    is_record = headers.get(RECORD) == CLAIM_RECORD
    return TokenMessage(
        sequence=sequence,
        previous=previous,
        writer=headers.get(WRITER),
        delta=None if is_record else _decode(payload),
    )


def _decode(payload: bytes) -> TokenDelta | None:
    try:
        return msgspec.json.decode(payload, type=TokenDelta)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
