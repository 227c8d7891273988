"""The live stream of an answer: deltas that readers are told, some twenty a second an item."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from consumers.answer import Answer
from consumers.engine import FinishReason
from consumers.retell import Key, sorted_out
from fleet.broker.tokens import TokenMessage
from fleet.errors import BrokerRefused, BrokerUnreachable, LeaseLost
from fleet.job import BadItem, EmbeddingBody, Item, Job, Tier, TokenDelta
from fleet.told import Told

log = logging.getLogger(__name__)
# A reader sees no difference beyond it, and every delta is one write for the broker.
INTERVAL_S = 0.05
# After a delta that the broker did not take, the next one is tried so much later.
RETRY_S = 1.0
# An answer that is told from its beginning may be more than one message holds.
MOST_TOKENS = 8192
MOST_CHARACTERS = 65_536


class Teller(Protocol):
    """What writes one job's token stream, guarded."""

    async def take_over(self, *, node: str) -> list[TokenMessage]:
        """Fence former owners out; return all that was said."""
        ...

    async def tell(self, delta: TokenDelta) -> None:
        """Store a delta. Raises LeaseLost, BrokerRefused, BrokerUnreachable."""
        ...


class Stream(Protocol):
    """What the feed needs of the token stream."""

    def teller(self, tenant: str, batch: str | None, job: str, *, writer: str) -> Teller:
        """Give what writes for one run of a job."""
        ...


class Telling:
    """What the readers of one job are told by one run of it.

    said: what former owners told, by item and choice. One message is on its way at a time, for each
    names the one before it; who finds another in its way tells more the next time.
    """

    def __init__(self, teller: Teller, job: str, said: Mapping[Key, Sequence[TokenDelta]]) -> None:
        self._teller = teller
        self._job = job
        self._said = said
        self._is_lost = False
        self._retry_at = 0.0
        self.one_at_a_time = asyncio.Lock()

    @property
    def is_down(self) -> bool:
        """Whether a message was not taken just now, and so no other one would be."""
        return time.monotonic() < self._retry_at

    def said(self, item: int, choice: int) -> Sequence[TokenDelta]:
        """Return what former owners told of one choice."""
        return self._said.get((item, choice), ())

    async def tell(self, delta: TokenDelta) -> bool:
        """Tell readers; False if they could not be told, and may be another time."""
        try:
            if not self._is_lost:
                await self._teller.tell(delta)
        except LeaseLost as error:
            # The stream is another consumer's, and so is the job: its log and claim will say so.
            self._is_lost = True
            log.warning("token stream lost", extra={"job_id": self._job, "error": str(error)})
        except (BrokerUnreachable, BrokerRefused) as error:
            # What is missing goes out with the next delta, or is in the result.
            log.warning("token delta not sent", extra={"job_id": self._job, "error": str(error)})
            self._retry_at = time.monotonic() + RETRY_S
            return False
        return True


class Narrator:
    """Tells one choice of an answer as it grows."""

    def __init__(self, telling: Telling, item: Item, answer: Answer) -> None:
        self._telling = telling
        self._index = item.index
        self._answer = answer
        told = Told(telling.said(item.index, answer.choice))
        self._text = answer.news()
        self._tokens = self._characters = 0
        self._finish: str | None = None
        if self._text.startswith(told.text) and answer.ids[: len(told.ids)] == told.ids:
            # Readers have that much. Else they are told from the beginning, and will notice.
            self._tokens, self._characters = len(told.ids), len(told.text)
            self._text, self._finish = self._text[len(told.text) :], told.finish
        self._at = -INTERVAL_S

    async def tell(self, *, final: bool = False) -> None:
        """Publish what is new, unless the last delta was just now or another one is on its way."""
        lock = self._telling.one_at_a_time
        if not final and (lock.locked() or time.monotonic() - self._at < INTERVAL_S):
            return
        self._text += self._answer.news()
        finish = self._answer.finish if final else None
        is_new = len(self._answer.ids) > self._tokens or self._text or finish != self._finish
        if not is_new:
            return
        async with lock:
            # Without a broker, neither the final word nor the result must wait for those in front.
            if self._telling.is_down:
                return
            self._at = time.monotonic()
            while self._is_long:
                if not await self._tell(finish=None):
                    return
            await self._tell(finish=finish)

    @property
    def _is_long(self) -> bool:
        tokens = len(self._answer.ids) - self._tokens
        return tokens > MOST_TOKENS or len(self._text) > MOST_CHARACTERS

    async def _tell(self, *, finish: FinishReason | None) -> bool:
        """Publish as much as one delta holds."""
        ids = self._answer.ids[self._tokens : self._tokens + MOST_TOKENS]
        text = self._text[:MOST_CHARACTERS]
        delta = TokenDelta(
            item=self._index,
            offset=self._tokens,
            text=text,
            token_ids=tuple(ids),
            text_offset=self._characters,
            choice=self._answer.choice,
            finish_reason=finish,
        )
        if not await self._telling.tell(delta):
            return False
        self._tokens += len(ids)
        self._characters += len(text)
        self._text = self._text[len(text) :]
        return True


class Feed:
    """Opens live streams of jobs that somebody waits for."""

    def __init__(self, stream: Stream, *, node: str) -> None:
        self._stream = stream
        self._node = node

    def begin(self, job: Job, *, writer: str) -> Telling | None:
        """Begin the stream of a job that nobody had before; None if nobody wants one."""
        return Telling(self._teller(job, writer), job.id, {}) if _is_read(job) else None

    async def take_over(self, job: Job, *, writer: str) -> Telling | None:
        """Go on with the stream of a job that another consumer had. Raises BrokerUnreachable."""
        if not _is_read(job):
            return None
        teller = self._teller(job, writer)
        try:
            messages = await teller.take_over(node=self._node)
        except BrokerRefused as error:
            # Without a stream nobody was told anything.
            log.warning("token stream not there", extra={"job_id": job.id, "error": str(error)})
            return None
        said = [message.delta for message in messages if message.writer and message.delta]
        return Telling(teller, job.id, sorted_out(said, items=len(job.items)))

    def _teller(self, job: Job, writer: str) -> Teller:
        return self._stream.teller(job.tenant, job.batch, job.id, writer=writer)


def is_read(job: Job, item: Item | BadItem) -> bool:
    """Say whether an answer is read live: a real-time one, and any whose body asks for `stream`."""
    if not isinstance(item, Item) or isinstance(item.body, EmbeddingBody):
        return False
    return job.tier is Tier.REALTIME or bool(item.body.stream)


def _is_read(job: Job) -> bool:
    return any(is_read(job, item) for item in job.items)
