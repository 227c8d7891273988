"""One choice of an answer as it was told, joined from its deltas. Pure."""

from collections.abc import Iterable

from fleet.job import TokenDelta


class Told:
    """What is known of it, from its first token and character on."""

    def __init__(self, deltas: Iterable[TokenDelta] = ()) -> None:
        self.ids: list[int] = []
        self.text = ""
        self.finish: str | None = None
        for delta in deltas:
            self.join(delta)

    def join(self, delta: TokenDelta) -> int | None:
        """Take a delta in, in the order of storage; one that does not join on changes nothing.

        Returns the place of the first character that is another one now, None if there is none.
        Then the answer was begun again, and the last word counts.
        """
        begin, end = delta.text_offset, delta.text_offset + len(delta.text)
        first, last = delta.offset, delta.offset + len(delta.token_ids)
        if not (0 <= begin <= len(self.text) and 0 <= first <= len(self.ids)):
            return None
        is_end = delta.finish_reason is not None
        changed = _difference(self.text[begin:end], delta.text, begin)
        if changed is None and is_end and end < len(self.text):
            changed = end
        if changed is not None or is_end:
            self.finish = delta.finish_reason
        if changed is not None or is_end or last > len(self.ids):
            self.ids[first:] = delta.token_ids
        if changed is not None or end > len(self.text):
            self.text = self.text[:begin] + delta.text
        return changed


def _difference(known: str, fresh: str, begin: int) -> int | None:
    if fresh.startswith(known):
        return None
    return begin + next(n for n, (a, b) in enumerate(zip(known, fresh, strict=False)) if a != b)
