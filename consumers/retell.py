"""From where an answer goes on that somebody has begun to read. Pure.

It goes on from what was told, so that it contradicts nothing that was read. A token stream is no
safer than the network that it came through: what does not join on, or does not fit the checkpoint
or the request, is left out.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from fleet.job import TokenDelta

Key: TypeAlias = tuple[int, int]
# Vocabularies are far smaller, and engines take ids of 32 bits.
MOST_TOKEN_ID: Final = 2**31 - 1


def sorted_out(deltas: Iterable[TokenDelta], *, items: int) -> Mapping[Key, list[TokenDelta]]:
    """Sort what readers of a job of so many items were told by item and choice; drop nonsense."""
    sorts: defaultdict[Key, list[TokenDelta]] = defaultdict(list)
    for delta in deltas:
        is_known = 0 <= delta.item < items and delta.choice >= 0 and delta.offset >= 0
        if is_known and all(0 <= token_id <= MOST_TOKEN_ID for token_id in delta.token_ids):
            sorts[delta.item, delta.choice].append(delta)
    return dict(sorts)


def go_on(deltas: Iterable[TokenDelta], saved: Sequence[int], *, limit: int) -> tuple[int, ...]:
    """Return the tokens that one choice goes on from: the saved ones, and those told beyond them.

    deltas: of that choice, in the order of storage; those before the checkpoint may be gone. saved:
    the checkpoint's tokens, () if there are none. limit: the most tokens of the answer. What
    contradicts the checkpoint, or exceeds the limit, was told by none of us, and nothing is taken.
    """
    ids = list(saved)
    for delta in deltas:
        first, last = delta.offset, delta.offset + len(delta.token_ids)
        if first > len(ids):
            continue
        known = ids[first:last]
        if known != list(delta.token_ids[: len(known)]):
            ids[first:] = delta.token_ids
        elif last > len(ids):
            ids += delta.token_ids[len(known) :]
    is_ours = ids[: len(saved)] == list(saved) and len(ids) <= limit
    return tuple(ids if is_ours else saved)
