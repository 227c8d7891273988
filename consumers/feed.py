"""The live stream of an answer: deltas on `tokens.`, some twenty a second an item."""

import logging
import time
from collections.abc import Awaitable, Callable

from consumers.answer import Answer
from consumers.engine import FinishReason
from fleet.errors import BrokerUnreachable
from fleet.job import Item, Job, Tier, TokenDelta

log = logging.getLogger(__name__)
Publish = Callable[[str, str | None, str, TokenDelta], Awaitable[None]]
# A reader sees no difference beyond it, and every delta is one write for the broker.
INTERVAL_S = 0.05
# A resumed answer is told from its beginning, which may be more than one message holds.
MOST_TOKENS = 8192
MOST_CHARACTERS = 65_536


class Told:
    """What readers of one answer were told already, and the text that waits to be told."""

    def __init__(self, publish: Publish, job: Job, item: Item, answer: Answer) -> None:
        self._publish = publish
        self._job = job
        self._index = item.index
        self._answer = answer
        self._tokens = 0
        self._characters = 0
        self._text = ""
        self._at = -INTERVAL_S

    async def tell(self, *, final: bool = False) -> None:
        """Publish what is new, unless the last delta was just now."""
        now = time.monotonic()
        if not final and now - self._at < INTERVAL_S:
            return
        answer = self._answer
        self._text += answer.news()
        if len(answer.ids) == self._tokens and not final:
            return
        self._at = now
        try:
            while len(answer.ids) - self._tokens > MOST_TOKENS or len(self._text) > MOST_CHARACTERS:
                await self._tell(finish=None)
            await self._tell(finish=answer.finish if final else None)
        except BrokerUnreachable as error:
            # What is missing goes out with the next delta, or is in the result.
            log.warning("token delta not sent", extra={"job": self._job.id, "error": str(error)})

    async def _tell(self, *, finish: FinishReason | None) -> None:
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
        await self._publish(self._job.tenant, self._job.batch, self._job.id, delta)
        self._tokens += len(ids)
        self._characters += len(text)
        self._text = self._text[len(text) :]


class Feed:
    """Opens a live stream for jobs that somebody waits for."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish

    def wanted(self, job: Job) -> bool:
        """Only real-time answers are read live."""
        return job.tier is Tier.REALTIME

    def open(self, job: Job, item: Item, answer: Answer) -> Told | None:
        """Begin to tell an answer, from its first token even when it is resumed."""
        return Told(self._publish, job, item, answer) if self.wanted(job) else None
