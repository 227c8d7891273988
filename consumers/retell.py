"""From where an answer goes on that somebody has begun to read. Pure.

It goes on from what was told, so that it contradicts nothing that was read. A token stream is no
safer than the network that it came through: what does not join on, or does not fit the checkpoint
or the request, is left out.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from consumers.belief import believed
from consumers.engine import Engine
from fleet.claim import Saved
from fleet.job import Job, TokenDelta

Key: TypeAlias = tuple[int, int]


def sorted_out(deltas: Iterable[TokenDelta], *, items: int) -> Mapping[Key, list[TokenDelta]]:
    """Sort what readers of a job of so many items were told by item and choice; drop nonsense."""
    sorts: defaultdict[Key, list[TokenDelta]] = defaultdict(list)
    for delta in deltas:
        if 0 <= delta.item < items and delta.choice >= 0 and delta.offset >= 0:
            sorts[delta.item, delta.choice].append(delta)
    return dict(sorts)


def go_on(
    known: Saved, deltas: Iterable[TokenDelta], job: Job, engine: Engine, *, limit: int
) -> Saved:
    """Return what an item of one choice goes on from: what is known, and what was told beyond it.

    known: the checkpoint, or the prompt alone; without a prompt the item cannot go on. deltas: of
    that choice. limit: the most tokens of the answer. No more is taken than can be believed.
    """
    if not known.prompt_ids:
        return known
    facts, ends = engine.facts, engine.end_token_ids
    ids = further(deltas, known.done_ids, limit=limit, vocabulary=facts.vocabulary)
    entry = Saved(known.index, known.prompt_ids, ids)
    kept, _ = believed((entry,), job, facts=facts, end_token_ids=ends)
    return kept[0] if kept else known


def further(
    deltas: Iterable[TokenDelta], saved: Sequence[int], *, limit: int, vocabulary: int
) -> tuple[int, ...]:
    """Return the saved tokens of one choice, and those that were told beyond them.

    deltas: in the order of storage; those before the checkpoint may be gone. saved:
    the checkpoint's tokens, () if there are none. limit: the most tokens of the answer. vocabulary:
    token ids are below it. What contradicts the checkpoint, or exceeds the limit, was told by none
    of us, and nothing is taken.
    """
    ids = list(saved)
    for delta in deltas:
        first, last = delta.offset, delta.offset + len(delta.token_ids)
        if first > len(ids) or not all(0 <= token_id < vocabulary for token_id in delta.token_ids):
            continue
        known = ids[first:last]
        if known != list(delta.token_ids[: len(known)]):
            ids[first:] = delta.token_ids
        elif last > len(ids):
            ids += delta.token_ids[len(known) :]
    is_ours = ids[: len(saved)] == list(saved) and len(ids) <= limit
    return tuple(ids if is_ours else saved)
