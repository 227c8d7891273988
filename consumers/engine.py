"""What the runner needs from an inference engine, and no more."""

from collections.abc import AsyncGenerator, Sequence
from typing import Literal, Protocol

import msgspec

from fleet.errors import JobRejected
from fleet.job import Item

FinishReason = Literal["stop", "length"]


class EngineFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine is, once it is up.

    context_tokens: prompt and output together. exact: greedy output does not depend on what else is
    in the batch nor on where it was cut (float32, or the scripted engine). embeds: it answers
    embeddings and nothing else; otherwise it answers chat and completions and nothing else. keyed:
    sampling with a seed, and penalties, go on behind `Sampling.kept` tokens as if never cut.
    vocabulary: token ids are below it.
    default_tokens: length of an answer whose request names none, None for what the context holds.
    """

    name: str
    version: str
    model: str
    dtype: str
    context_tokens: int
    vocabulary: int
    slots: int
    exact: bool
    embeds: bool
    keyed: bool = False
    default_tokens: int | None = None


class Logprob(msgspec.Struct, frozen=True):
    """Log probability of a token as the engine saw it; `rank` counts from 1."""

    token_id: int
    logprob: float
    rank: int | None = None


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How to choose tokens, in the engine's terms: all limits count from where the request starts.

    Stop strings are not here: they are matched outside the engine, on the joined text, so that one
    that straddles an interruption is seen. kept: how many of the prompt's last tokens are the
    beginning of the answer. json_schema: None for free text; the schema as JSON text; or "{}" for
    any JSON object.
    """

    max_tokens: int
    min_tokens: int = 0
    kept: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0
    ignore_eos: bool = False
    logprobs: int | None = None
    json_schema: str | None = None

    @property
    def penalised(self) -> bool:
        """Whether tokens that were there before are less likely, or more so."""
        return (
            self.frequency_penalty != 0
            or self.presence_penalty != 0
            or self.repetition_penalty != 1
        )


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What one turn of the engine gave one request.

    token_ids: new ones, in order, the end token included. logprobs: for each new token the chosen
    one first, then alternatives; empty when not asked for. finish: set in the last step only.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[tuple[Logprob, ...], ...] = ()
    finish: FinishReason | None = None


class Rendered(msgspec.Struct, frozen=True):
    """An item's prompts as token ids: one for a chat, one a text for completions and embeddings."""

    prompts: tuple[tuple[int, ...], ...]


class Engine(Protocol):
    """An engine that runs in this process's care. All methods are called on its event loop."""

    @property
    def facts(self) -> EngineFacts:
        """What this engine is."""
        ...

    async def render(self, items: Sequence[Item]) -> list[Rendered | JobRejected]:
        """Turn requests into token ids, in order; off the event loop if that takes long.

        A request that the model cannot take (too long, no chat template) gives a JobRejected in
        its place; its neighbours are not hurt.
        """
        ...

    def generate(
        self,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        *,
        request_id: str,
        priority: int,
        salt: str = "",
    ) -> AsyncGenerator[Step, None]:
        """Yield steps until one has `finish`; closing the generator aborts the request.

        priority: 0 is served first. salt: requests of different salts share nothing that was
        computed for one of them, so that no tenant can time another's prompts. Raises JobRejected
        for what the engine refuses, and EngineDead when it is gone or aborts a request that nobody
        asked it to.
        """
        ...

    async def embed(
        self, prompt_ids: Sequence[int], *, request_id: str, priority: int, salt: str = ""
    ) -> list[float]:
        """Return the embedding of one text. Raises as `generate` does."""
        ...

    def decode(self, token_ids: Sequence[int]) -> str:
        """Turn ids into text, special tokens left out. Incomplete UTF-8 ends in U+FFFD."""
        ...

    def token_text(self, token_id: int) -> str:
        """Show a single token, for log probabilities."""
        ...

    @property
    def end_token_ids(self) -> frozenset[int]:
        """Tokens that end an answer; an item whose last token is one of them is complete."""
        ...

    @property
    def alive_at(self) -> float:
        """When the engine last showed life, on the clock of time.monotonic(); idle counts as life.

        A hung engine falls behind: the lease of its jobs is then not extended any more.
        """
        ...

    async def close(self) -> None:
        """End the engine and its child processes."""
        ...
