"""What of a checkpoint can be believed: as much as can be checked, and not a token more.

A checkpoint is sealed against accidents, but whoever may write to its bucket can seal nonsense, and
a node that serves another model under the same name means other words by the same ids. An item that
is not believed starts again from zero, which costs time and never a wrong answer.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable

import msgspec

from consumers.engine import EngineFacts
from fleet.claim import Claim, Saved
from fleet.job import BadItem, CompletionBody, EmbeddingBody, GenerateBody, Job

log = logging.getLogger(__name__)


class Believer:
    """Leaves out of claims what one engine cannot go on from."""

    def __init__(self, facts: EngineFacts, end_token_ids: Collection[int]) -> None:
        self._facts = facts
        self._end_token_ids = end_token_ids

    def believe(self, job: Job, claim: Claim) -> Claim:
        """Return the claim without what is wrong of it, and warn if there was any."""
        saved, doubts = believed(
            claim.saved, job, facts=self._facts, end_token_ids=self._end_token_ids
        )
        if doubts:
            log.warning(
                "a checkpoint cannot be believed: what is wrong of it starts again",
                extra={"job_id": job.id, "tenant": job.tenant, "cause": "; ".join(sorted(doubts))},
            )
        return msgspec.structs.replace(claim, saved=saved)


def believed(
    saved: Iterable[Saved], job: Job, *, facts: EngineFacts, end_token_ids: Collection[int]
) -> tuple[tuple[Saved, ...], frozenset[str]]:
    """Return the entries that can be gone on from, and what is wrong with the others."""
    entries = tuple(saved)
    times = Counter(entry.index for entry in entries)
    kept: list[Saved] = []
    doubts: set[str] = set()
    for entry in entries:
        doubt = _doubt(entry, job, facts, end_token_ids)
        if times[entry.index] > 1:
            doubt = "an item is saved twice"
        if doubt is None:
            kept.append(entry)
        else:
            doubts.add(doubt)
    return tuple(kept), frozenset(doubts)


def _doubt(
    entry: Saved, job: Job, facts: EngineFacts, end_token_ids: Collection[int]
) -> str | None:
    if not 0 <= entry.index < len(job.items):
        return f"an item is none of the job's {len(job.items)}"
    item = job.items[entry.index]
    if isinstance(item, BadItem) or isinstance(item.body, EmbeddingBody):
        return "an item generates no tokens"
    if not entry.done_ids:
        return None  # says only that the item was begun once
    return _prompt_doubt(entry, item.body) or _answer_doubt(entry, item.body, facts, end_token_ids)


def _prompt_doubt(entry: Saved, body: GenerateBody) -> str | None:
    if not entry.prompt_ids:
        return "an answer has no prompt"
    given = body.prompt_ids if isinstance(body, CompletionBody) else None
    if given is not None and given != entry.prompt_ids:
        return "a prompt is not the one that was sent"
    return None


def _answer_doubt(
    entry: Saved, body: GenerateBody, facts: EngineFacts, end_token_ids: Collection[int]
) -> str | None:
    prompt, done = entry.prompt_ids, entry.done_ids
    if min(*prompt, *done) < 0 or max(*prompt, *done) >= facts.vocabulary:
        return f"token ids are outside of the vocabulary of {facts.vocabulary}"
    if len(prompt) + len(done) > facts.context_tokens:
        return f"an answer is longer than the context of {facts.context_tokens} tokens"
    limit = facts.default_tokens if body.limit is None else body.limit
    if limit is not None and len(done) > limit:
        return "an answer is longer than was asked for"
    if not body.ignore_eos and not set(done[:-1]).isdisjoint(end_token_ids):
        return "an answer goes on behind its end"
    return None
