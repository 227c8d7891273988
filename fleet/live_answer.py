"""One answer from two sources: the deltas as they come, and the result that settles them.

A token stream may pause, begin again a little earlier, lose a piece, or be missing altogether. What
goes on from here has every character once and in order, and ends as the result does. Nothing of it
is ever taken back: if an answer has to be begun again, and comes out otherwise than what went on
from here, that is an error.
"""

from collections.abc import Iterable, Iterator

import msgspec

from fleet.errors import JobFailed, JobRejected, UsageError
from fleet.job import ResultLine, TokenDelta
from fleet.told import Told

RESTARTED = "answer_restarted"


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
    """Joins the deltas of one job, every (item, choice) on its own.

    begin: the first character that is wanted of each answer; the caller has those before it. owner:
    whose run the deltas that come now are of.
    """

    def __init__(self, *, begin: int = 0) -> None:
        self.owner: str | None = None
        self._begin = begin
        self._changed: list[int] = []
        self._threads: dict[tuple[int, int], _Thread] = {}

    def take(self, delta: TokenDelta) -> None:
        """Take a delta in, in the order of storage; one that does not join on changes nothing.

        Raises JobFailed if the answer was begun again and differs from what went on before.
        """
        if not self._thread(delta.item, delta.choice).take(delta, self.owner):
            self._changed.append(delta.item)
        self.check()

    def settle(self, lines: Iterable[ResultLine]) -> None:
        """Take the results in; `check` says whether one differs from what went on before.

        Raises UsageError if an answer ends before the character that is wanted first.
        """
        self._changed += (
            line.fleet.item
            for line in lines
            for choice in choices(line)
            if not self._thread(line.fleet.item, choice.index).settle(choice)
        )

    def check(self) -> None:
        """Raise JobFailed if an answer was begun again and differs from what went on before."""
        if self._changed:
            raise JobFailed(
                f"the answer to item {self._changed[0]} had to be begun again and differs from "
                "what was streamed: forget that, and stream it from its beginning",
                code=RESTARTED,
            )

    def news(self) -> Iterator[TokenDelta]:
        """Yield what has not gone on yet; `token_ids` are empty where only the result is known."""
        for (item, choice), thread in self._threads.items():
            if thread.is_certain(self.owner) and (fresh := thread.news(item, choice)):
                yield fresh

    def _thread(self, item: int, choice: int) -> "_Thread":
        return self._threads.setdefault((item, choice), _Thread(self._begin))


class _Thread:
    """One choice: what is known of it, and how much of that went on."""

    def __init__(self, begin: int) -> None:
        self._told = Told()
        self._characters = begin
        self._tokens = 0
        self._went_on = self._ended = False
        self._owner: str | None = None

    def is_certain(self, owner: str | None) -> bool:
        """Say whether it may go on.

        Not if nothing of it did, and a former owner left it: the present one may begin it again.
        """
        return self._went_on or self._told.finish is not None or self._owner == owner

    def take(self, delta: TokenDelta, owner: str | None) -> bool:
        """Return False if what went on before is wrong by now."""
        told, self._owner = self._told, owner
        changed = told.join(delta)
        if changed is not None:
            self._tokens = min(self._tokens, delta.offset)
            return changed >= self._characters and not self._ended
        if delta.text_offset + len(delta.text) <= min(self._characters, len(told.text)):
            # The caller has these characters, and so their tokens.
            self._tokens = min(
                len(told.ids), max(self._tokens, delta.offset + len(delta.token_ids))
            )
        return True

    def settle(self, choice: Choice) -> bool:
        """Return False if what went on before is wrong by now."""
        told, text = self._told, choice.text
        if not text.startswith(told.text[: self._characters]):
            return False
        if len(text) < self._characters:
            raise UsageError(
                f"the answer has {len(text)} characters, so there is none from number "
                f"{self._characters} on: give a smaller offset"
            )
        if not text.startswith(told.text):
            del told.ids[self._tokens :]
        told.text, told.finish = text, choice.finish_reason
        self._went_on = True
        return True

    def news(self, item: int, choice: int) -> TokenDelta | None:
        told = self._told
        if len(told.text) < self._characters and told.finish is None:
            return None
        text, token_ids = told.text[self._characters :], tuple(told.ids[self._tokens :])
        finish = None if self._ended else told.finish
        if not (text or token_ids or finish):
            return None
        fresh = TokenDelta(
            item=item,
            choice=choice,
            offset=self._tokens,
            token_ids=token_ids,
            text=text,
            text_offset=self._characters,
            finish_reason=finish,
        )
        self._characters += len(text)
        self._tokens += len(token_ids)
        self._went_on, self._ended = True, told.finish is not None
        return fresh
