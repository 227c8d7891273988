"""One answer from two sources: the deltas as they come, and the result that settles them.

A token stream may pause, begin again a little earlier, lose a piece, or be missing altogether. What
goes on from here has every character once and in order, and ends as the result does.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from fleet.errors import JobFailed, JobRejected
from fleet.job import ResultLine, TokenDelta


class Choice(msgspec.Struct, frozen=True):
    """The text of one choice of an answer."""

    index: int
    text: str
    finish_reason: str | None


class _Message(msgspec.Struct, frozen=True):
    content: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    index: int = 0
    message: _Message | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Body(msgspec.Struct, frozen=True):
    choices: tuple[_Choice, ...] = ()


def choices(line: ResultLine) -> tuple[Choice, ...]:
    """Return the texts of a chat or completion; nothing for embeddings and for errors."""
    if line.response is None:
        return ()
    try:
        body = msgspec.convert(line.response.body, _Body)
    except msgspec.ValidationError as error:
        raise JobRejected(
            f"result {line.id} is not in the shape of an answer: {error}", code="invalid_result"
        ) from error
    return tuple(
        Choice(
            index=each.index,
            text=(each.message.content if each.message else each.text) or "",
            finish_reason=each.finish_reason,
        )
        for each in body.choices
    )


class LiveAnswer:
    """Joins the deltas of one job, every (item, choice) on its own."""

    def __init__(self) -> None:
        self._threads: defaultdict[tuple[int, int], _Thread] = defaultdict(_Thread)

    def feed(self, delta: TokenDelta) -> TokenDelta | None:
        """Return what is new in `delta`, or None if nothing is, or if it does not join on."""
        return self._threads[delta.item, delta.choice].feed(delta)

    def misses(self, delta: TokenDelta) -> bool:
        """Say whether a piece before `delta` is missing; once a gap, so that it is fetched once."""
        return self._threads[delta.item, delta.choice].misses(delta)

    def rest(self, lines: Iterable[ResultLine]) -> Iterator[TokenDelta]:
        """Yield what the results hold beyond the deltas; `token_ids` are empty, for unknown.

        Raises JobFailed at the end, if a result does not begin with what was passed on before.
        """
        changed: list[str] = []
        for line in lines:
            for choice in choices(line):
                thread = self._threads[line.fleet.item, choice.index]
                if not choice.text.startswith(thread.text):
                    changed.append(line.id)
                elif delta := thread.rest(line.fleet.item, choice):
                    yield delta
        if changed:
            raise JobFailed(
                f"result {changed[0]} differs from what was streamed, because the answer was "
                "started again: take the result",
                code="answer_restarted",
            )


class _Thread:
    """The text of one choice so far."""

    def __init__(self) -> None:
        self.text = ""
        self._tokens = 0
        self._finished = False
        self._other = False
        self._gap: int | None = None

    def feed(self, delta: TokenDelta) -> TokenDelta | None:
        begin = delta.text_offset
        if self._other or not 0 <= begin <= len(self.text):
            return None
        known = self.text[begin : begin + len(delta.text)]
        if not delta.text.startswith(known):
            # Another answer is told by now; none of its later deltas may join on by chance.
            self._other = True
            return None
        end = len(self.text)
        fresh = delta.text[end - begin :]
        token_ids = delta.token_ids[max(0, self._tokens - delta.offset) :]
        finish = None if self._finished else delta.finish_reason
        if not (fresh or token_ids or finish):
            return None
        offset = max(self._tokens, delta.offset)
        self.text += fresh
        self._tokens = offset + len(token_ids)
        self._finished = self._finished or finish is not None
        return msgspec.structs.replace(
            delta,
            offset=offset,
            token_ids=token_ids,
            text=fresh,
            text_offset=end,
            finish_reason=finish,
        )

    def misses(self, delta: TokenDelta) -> bool:
        end = len(self.text)
        is_new = delta.text_offset > end and self._gap != end
        if is_new:
            self._gap = end
        return is_new

    def rest(self, item: int, choice: Choice) -> TokenDelta | None:
        end = len(self.text)
        fresh = choice.text[end:]
        if not fresh and self._finished:
            return None
        self.text, self._finished = choice.text, True
        return TokenDelta(
            item=item,
            choice=choice.index,
            offset=self._tokens,
            token_ids=(),
            text=fresh,
            text_offset=end,
            finish_reason=choice.finish_reason,
        )
