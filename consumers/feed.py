"""The live stream of an answer: deltas on `tokens.`, some twenty a second an item."""

import time
from collections.abc import Awaitable, Callable

from consumers.answer import Answer
from fleet.job import Item, Job, Tier, TokenDelta

Publish = Callable[[str, str | None, str, TokenDelta], Awaitable[None]]
# A reader sees no difference beyond it, and every delta is one write for the broker.
INTERVAL_S = 0.05


class Told:
    """What readers of one answer were told already."""

    def __init__(self, publish: Publish, job: Job, item: Item, answer: Answer) -> None:
        self._publish = publish
        self._job = job
        self._index = item.index
        self._answer = answer
        self._tokens = 0
        self._characters = 0
        self._at = -INTERVAL_S

    async def tell(self, *, final: bool = False) -> None:
        """Publish what is new, unless the last delta was just now."""
        now = time.monotonic()
        if not final and now - self._at < INTERVAL_S:
            return
        answer = self._answer
        text, ids = answer.news(), answer.ids[self._tokens :]
        if not ids and not final:
            return
        await self._publish(
            self._job.tenant,
            self._job.batch,
            self._job.id,
            TokenDelta(
                item=self._index,
                offset=self._tokens,
                text=text,
                token_ids=tuple(ids),
                text_offset=self._characters,
                choice=answer.choice,
                finish_reason=answer.finish if final else None,
            ),
        )
        self._tokens += len(ids)
        self._characters += len(text)
        self._at = now


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
