"""Token ids to text as they come, and stop strings on the joined text.

Stop strings are matched here and not in the engine: an engine that resumes an answer sees only the
new part of it and misses a stop string that straddles the interruption.
"""

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]
INCOMPLETE = "\ufffd"


class AnswerText:
    """The text of one answer.

    decode: ids to text. stops: strings that end the answer and are not part of it. min_tokens: stop
    strings count only from that many tokens on.
    """

    def __init__(self, decode: Decode, *, stops: Sequence[str] = (), min_tokens: int = 0) -> None:
        self._decode = decode
        self._stops = stops
        self._min_tokens = min_tokens
        # The last piece may be the beginning of a stop string; so much of it is not shown yet.
        self._hold = max(map(len, stops), default=1) - 1
        self._ids: list[int] = []
        self._prefix = self._read = 0
        self._shown = 0
        self.text = ""
        self.stopped = False

    def push(self, ids: Sequence[int]) -> int:
        """Take tokens in; return how many of them belong to the answer (fewer after a stop)."""
        for taken, token_id in enumerate(ids):
            if self.stopped:
                return taken
            self._ids.append(token_id)
            self._grow()
        return len(ids)

    def finish(self) -> None:
        """Decode what was held back as an incomplete character."""
        rest = self._decode(self._ids[self._prefix :])[self._head() :]
        if not self.stopped:
            self.text += rest

    def take(self, *, final: bool = False) -> str:
        """Return the text that is new and certain since the last call."""
        end = len(self.text) if final or self.stopped else len(self.text) - self._hold
        if end <= self._shown:
            return ""
        piece = self.text[self._shown : end]
        self._shown = end
        return piece

    def _head(self) -> int:
        return len(self._decode(self._ids[self._prefix : self._read]))

    def _grow(self) -> None:
        # Decoding a window that begins one piece earlier keeps joined characters and leading
        # spaces right without decoding everything again for every token.
        window = self._decode(self._ids[self._prefix :])
        piece = window[self._head() :]
        if not piece or piece.endswith(INCOMPLETE):
            return
        self._prefix, self._read = self._read, len(self._ids)
        self._match(piece)

    def _match(self, piece: str) -> None:
        begin = max(0, len(self.text) - self._hold)
        self.text += piece
        if len(self._ids) < self._min_tokens:
            return
        found = [at for stop in self._stops if (at := self.text.find(stop, begin)) >= 0]
        if found:
            self.text = self.text[: min(found)]
            self.stopped = True
