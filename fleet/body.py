"""Bodies of requests, in OpenAI's shape.

A field that we do not know is an error that names it, since a silently ignored `temprature` is a
wrong answer.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

# OpenAI allows 128 choices; a larger number is a way to take a GPU from everyone else.
MAX_CHOICES = 128
MAX_STOPS = 16
MAX_LOGPROBS = 20
MAX_INPUTS = 2048
# A schema goes on to a grammar compiler that recurses; what people write is far flatter.
MAX_SCHEMA_DEPTH = 64

CHAT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
COMPLETIONS: Literal["/v1/completions"] = "/v1/completions"
EMBEDDINGS: Literal["/v1/embeddings"] = "/v1/embeddings"
Url: TypeAlias = Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings"]
URLS: tuple[str, ...] = (CHAT, COMPLETIONS, EMBEDDINGS)

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
TokenId: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
Probability: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
Temperature: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=2)]
Penalty: TypeAlias = Annotated[float, msgspec.Meta(ge=-2, le=2)]
StopText: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Stops: TypeAlias = StopText | Annotated[tuple[StopText, ...], msgspec.Meta(max_length=MAX_STOPS)]
Seed: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class TextPart(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="text"
):
    """One text part of a message. Images, audio and files are refused: they would be fetched."""

    text: str


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant", "developer", "tool"]
    content: str | tuple[TextPart, ...]
    name: str | None = None


class JsonSchema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A named JSON Schema that the answer has to follow."""

    name: str
    schema: dict[str, Any]
    strict: bool | None = None
    description: str | None = None

    def __post_init__(self) -> None:
        level: list[object] = [self.schema]
        for _ in range(MAX_SCHEMA_DEPTH):
            level = [inner for value in level for inner in _inside(value)]
        if level:
            raise ValueError(f"`schema` is nested deeper than {MAX_SCHEMA_DEPTH}: flatten it")


class ResponseFormat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Free text, any JSON object, or JSON that follows a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class _Sampling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What chat and completions share. Beside OpenAI's fields: vLLM's own, under its names.

    stream: tell the answer live as it is made, which real-time answers always are.
    """

    model: str | None = None
    max_tokens: Count | None = None
    temperature: Temperature = 1.0
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    n: Annotated[int, msgspec.Meta(ge=1, le=MAX_CHOICES)] = 1
    stop: Stops | None = None
    seed: Seed | None = None
    frequency_penalty: Penalty = 0.0
    presence_penalty: Penalty = 0.0
    response_format: ResponseFormat | None = None
    user: str | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=-1, le=1_000_000)] = 0
    min_p: Probability = 0.0
    repetition_penalty: Annotated[float, msgspec.Meta(gt=0, le=10)] = 1.0
    min_tokens: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    ignore_eos: bool = False

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings as a tuple, whichever way they were written."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else self.stop


class ChatBody(_Sampling, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `/v1/chat/completions`."""

    messages: Annotated[tuple[Message, ...], msgspec.Meta(min_length=1, max_length=4096)]
    max_completion_tokens: Count | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=MAX_LOGPROBS)] = 0
    metadata: dict[str, str] | None = None
    store: bool | None = None

    @property
    def limit(self) -> int | None:
        """The most tokens to generate, or None for as many as the context holds."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def logprob_count(self) -> int | None:
        """How many alternatives to report a token; None for no log probabilities at all."""
        return self.top_logprobs if self.logprobs else None


class CompletionBody(_Sampling, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `/v1/completions`: a prompt as text or as token ids, or several texts."""

    prompt: str | Annotated[tuple[str | TokenId, ...], msgspec.Meta(min_length=1)]
    logprobs: Annotated[int, msgspec.Meta(ge=0, le=MAX_LOGPROBS)] | None = None
    echo: Literal[False] = False

    def __post_init__(self) -> None:
        if isinstance(self.prompt, str) or self.prompt_ids is not None:
            return
        if not all(isinstance(part, str) for part in self.prompt):
            raise ValueError("`prompt` mixes texts and token ids: send one kind")
        if len(self.prompt) * self.n > MAX_CHOICES:
            raise ValueError(f"prompts x n make more than {MAX_CHOICES} choices: send fewer")

    @property
    def prompt_ids(self) -> tuple[int, ...] | None:
        """The prompt, where it was given as token ids."""
        if isinstance(self.prompt, str):
            return None
        ids = tuple(part for part in self.prompt if isinstance(part, int))
        return ids if len(ids) == len(self.prompt) else None

    @property
    def texts(self) -> tuple[str, ...]:
        """The prompts, where they were given as text."""
        if isinstance(self.prompt, str):
            return (self.prompt,)
        return tuple(part for part in self.prompt if isinstance(part, str))

    @property
    def limit(self) -> int:
        """The most tokens to generate; OpenAI's default for completions is 16."""
        return self.max_tokens or 16

    @property
    def logprob_count(self) -> int | None:
        """How many alternatives to report a token; None for no log probabilities at all."""
        return self.logprobs


class EmbeddingBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `/v1/embeddings`: one text or several."""

    input: str | Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=MAX_INPUTS)]
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    user: str | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """The texts as a tuple, whichever way they were written."""
        return (self.input,) if isinstance(self.input, str) else self.input


Body: TypeAlias = ChatBody | CompletionBody | EmbeddingBody
GenerateBody: TypeAlias = ChatBody | CompletionBody


def _inside(value: object) -> Iterable[object]:
    """Return what a JSON value contains."""
    match value:
        case dict():
            return value.values()
        case list():
            return value
        case _:
            return ()
