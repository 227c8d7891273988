"""An engine without a model: its answer is a function of the prompt, so anyone can check it.

The function. Let P be the prompt as UTF-8 bytes: for a completion the prompt itself, for a chat the
messages as `role: content` lines joined by a newline. Token number i of the answer (from 0) is the
first six hex digits of sha256(P + b"|" + str(i)); its text is those six digits and a space, as in
"1f0c2a 88d1e0 ". An answer has `max_tokens` tokens (16 if not given) unless a stop string ends it.
A prompt token is one byte of P.
The embedding of a text is its sha256 as 32 numbers from -1 to 1, scaled to length 1.

Temperature, seeds, penalties and the like change nothing; log probabilities are all 0.
"""

import asyncio
import hashlib
import math
import time
from collections.abc import AsyncGenerator, Mapping, Sequence

from consumers import mishaps
from consumers.engine import EngineFacts, Logprob, Rendered, Sampling, Step
from fleet.errors import EngineDead, JobRejected
from fleet.job import ChatBody, CompletionBody, EmbeddingBody, Item, TextPart

CONTEXT_TOKENS = 65_536
DEFAULT_TOKENS = 16
# The least time that one wait takes; faster rates yield several tokens a step instead.
TICK_S = 0.01
# Ids of answer tokens lie above the bytes of the prompt, so that a resumed prompt can be split.
_OFFSET = 256


def prompt_text(item: Item) -> tuple[str, ...]:
    """Return the prompts that the answer of this item is a function of."""
    match item.body:
        case ChatBody(messages=messages):
            return ("\n".join(f"{m.role}: {_content(m.content)}" for m in messages),)
        case CompletionBody() as body:
            return body.texts
        case EmbeddingBody() as body:
            return body.inputs


def token(prompt: bytes, index: int) -> int:
    """Return the id of token number `index`, from 0, of the answer to `prompt`."""
    return _OFFSET + int(hashlib.sha256(b"%b|%d" % (prompt, index)).hexdigest()[:6], 16)


def answer(prompt: str, tokens: int) -> str:
    """Return the whole text of an answer, as a checker would compute it."""
    return "".join(text_of(token(prompt.encode(), index)) for index in range(tokens))


def text_of(token_id: int) -> str:
    """Six hex digits and a space."""
    return f"{token_id - _OFFSET:06x} "


class ScriptedEngine:
    """Deterministic tokens at `tokens_per_s` a request (0: as fast as they can be made)."""

    def __init__(
        self,
        *,
        model: str,
        tokens_per_s: float = 0.0,
        slots: int = 32,
        pitfalls: Mapping[bytes, str] | None = None,
    ) -> None:
        self._tokens_per_s = tokens_per_s
        self._pitfalls = pitfalls or {}
        self._hung_at: float | None = None
        self._free = asyncio.Semaphore(slots)
        self._dead = False
        self.facts = EngineFacts(
            name="scripted",
            version="1",
            model=model,
            dtype="none",
            context_tokens=CONTEXT_TOKENS,
            vocabulary=_OFFSET + 16**6,
            slots=slots,
            exact=True,
            embeds=False,
            keyed=True,
            default_tokens=DEFAULT_TOKENS,
        )
        self.end_token_ids: frozenset[int] = frozenset()

    @property
    def alive_at(self) -> float:
        """Now, as long as it neither died nor hangs."""
        if self._hung_at is not None:
            return self._hung_at
        return float("-inf") if self._dead else time.monotonic()

    def die(self) -> None:
        """Behave from now on like an engine whose core was killed."""
        self._dead = True

    async def render(self, items: Sequence[Item]) -> list[Rendered | JobRejected]:
        """Turn prompts into bytes."""
        return [self._render(item) for item in items]

    async def generate(
        self,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        *,
        request_id: str,
        priority: int,
        salt: str = "",
    ) -> AsyncGenerator[Step, None]:
        """Yield the tokens that follow the prompt, which may end in tokens of the answer."""
        del request_id, priority, salt
        prompt, done = _split(prompt_ids)
        async with self._free:
            if self._pitfalls:
                self._suffer(prompt)
            index, last = done, done + sampling.max_tokens
            started = time.monotonic()
            while index < last:
                count = await self._due(started, index - done, last - index)
                if self._hung_at is not None:
                    await asyncio.Event().wait()
                if self._dead:
                    raise EngineDead("the scripted engine was told to die")
                ids = tuple(token(prompt, n) for n in range(index, index + count))
                index += count
                yield Step(
                    token_ids=ids,
                    logprobs=_logprobs(ids) if sampling.logprobs is not None else (),
                    finish="length" if index >= last else None,
                )

    async def embed(
        self, prompt_ids: Sequence[int], *, request_id: str, priority: int, salt: str = ""
    ) -> list[float]:
        """Return 32 numbers that depend on the text alone."""
        del request_id, priority, salt
        raw = [byte / 127.5 - 1 for byte in hashlib.sha256(bytes(prompt_ids)).digest()]
        norm = math.sqrt(sum(x * x for x in raw))
        return [x / norm for x in raw]

    def decode(self, token_ids: Sequence[int]) -> str:
        """Join the texts of the tokens."""
        return "".join(map(self.token_text, token_ids))

    def token_text(self, token_id: int) -> str:
        """Six hex digits and a space."""
        return text_of(token_id)

    async def close(self) -> None:
        """Nothing to end."""

    def _suffer(self, prompt: bytes) -> None:
        match mishap := mishaps.of(prompt, self._pitfalls):
            case "die":
                self.die()
            case "hang":
                self._hung_at = time.monotonic()
            case _:
                mishaps.suffer(mishap)

    async def _due(self, started: float, made: int, left: int) -> int:
        """Wait until at least one token is due; return how many are."""
        if self._tokens_per_s <= 0:
            # Let others run: a request of a thousand tokens must not hold the loop.
            await asyncio.sleep(0)
            return min(left, 64)
        due_at = started + (made + 1) / self._tokens_per_s
        await asyncio.sleep(
            max(TICK_S if due_at > time.monotonic() else 0, due_at - time.monotonic())
        )
        due = int((time.monotonic() - started) * self._tokens_per_s) - made
        return max(1, min(left, due))

    def _render(self, item: Item) -> Rendered | JobRejected:
        if isinstance(item.body, CompletionBody) and item.body.prompt_ids is not None:
            return JobRejected(
                "the scripted engine has no vocabulary: send `prompt` as text",
                code="unsupported_prompt",
            )
        prompts = tuple(tuple(text.encode()) for text in prompt_text(item))
        limit = 0 if isinstance(item.body, EmbeddingBody) else (item.body.limit or DEFAULT_TOKENS)
        longest = max(map(len, prompts))
        if longest + limit > CONTEXT_TOKENS:
            return JobRejected(
                f"prompt ({longest} tokens) and max_tokens ({limit}) exceed the context of "
                f"{CONTEXT_TOKENS}: shorten the prompt or ask for fewer tokens",
                code="context_exceeded",
            )
        return Rendered(prompts)


def _split(prompt_ids: Sequence[int]) -> tuple[bytes, int]:
    """Take a prompt apart into its bytes and the number of answer tokens behind them."""
    length = len(prompt_ids)
    while length and prompt_ids[length - 1] >= _OFFSET:
        length -= 1
    return bytes(prompt_ids[:length]), len(prompt_ids) - length


def _logprobs(ids: Sequence[int]) -> tuple[tuple[Logprob, ...], ...]:
    return tuple((Logprob(i, 0.0, 1),) for i in ids)


def _content(content: str | tuple[TextPart, ...]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)
