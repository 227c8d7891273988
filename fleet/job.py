"""What crosses the queue: jobs, items, result lines and token deltas.

Wire structs accept unknown fields and give every new field a default, because messages outlive
deployments. The one exception is the request body: a field that we do not know there is an error
that names it, since a silently ignored `temprature` is a wrong answer.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

MIB = 1024 * 1024
# Payload and headers of one message. Above it the body belongs into a claim check.
MAX_JOB_BYTES = MIB // 2
MAX_ITEMS = 1024
MAX_CUSTOM_ID = 512
# OpenAI allows 128 choices; a larger number is a way to take a GPU from everyone else.
MAX_CHOICES = 128
MAX_STOPS = 16
MAX_LOGPROBS = 20
MAX_INPUTS = 2048


class Tier(StrEnum):
    """How urgent a job is, and so which capacity may serve it."""

    REALTIME = "realtime"
    BACKGROUND = "background"
    BATCH = "batch"


TIERS: tuple[str, ...] = tuple(Tier)
CapacityType: TypeAlias = Literal["on-demand", "spot"]
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


class ResponseFormat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Free text, any JSON object, or JSON that follows a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class _Sampling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What chat and completions share. Beside OpenAI's fields: vLLM's own, under its names."""

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


class WireError(msgspec.Struct, frozen=True):
    """What went wrong: a code for machines, a sentence with cause and remedy for people."""

    code: str
    message: str


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One request inside a job. `index` is its place in the job, from 0."""

    index: int
    custom_id: str | None
    body: Body

    @property
    def url(self) -> Url:
        """The endpoint, which follows from the kind of body."""
        match self.body:
            case ChatBody():
                return CHAT
            case CompletionBody():
                return COMPLETIONS
            case EmbeddingBody():
                return EMBEDDINGS


class BadItem(msgspec.Struct, frozen=True, kw_only=True):
    """A request that cannot be decoded; its neighbours are not hurt by it."""

    index: int
    custom_id: str | None
    error: WireError


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One decoded message of the queue.

    deadline: seconds since the epoch, or None. sha256: hex digest of the payload, the job's
    fingerprint. items: in order of index, good and bad ones.
    """

    id: str
    tenant: str
    model: str
    tier: Tier
    sha256: str
    items: tuple[Item | BadItem, ...]
    batch: str | None = None
    deadline: float | None = None
    traceparent: str | None = None


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one request: the caller's prompt once, and every output token once."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        """Prompt and output together."""
        return self.prompt_tokens + self.completion_tokens


Resumed: TypeAlias = Literal["no", "exact", "continued", "restarted"]


class FleetInfo(msgspec.Struct, frozen=True, kw_only=True):
    """How an item was served.

    item, items: its index and the number of items in the job; a job is complete when every index
    has a line. attempts: failures by the job's own fault. interruptions: consumers it outlived.
    queue_s: published until taken up by the consumer that finished it. run_s: seconds in that
    consumer. cost_usd: its share of the node's price, None where no price is set. resumed: whether
    it went on from saved tokens: token for token, as a valid answer, or from zero again.
    """

    job: str
    item: int
    items: int
    node: str
    capacity_type: CapacityType
    zone: str = ""
    attempts: int = 0
    interruptions: int = 0
    queue_s: float = 0.0
    run_s: float = 0.0
    cost_usd: float | None = None
    resumed: Resumed = "no"


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """The answer in OpenAI's own shape: body is a chat completion, a completion or a list."""

    status_code: int
    request_id: str
    body: dict[str, Any]


class ResultLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of OpenAI's batch output, and how the item was served in `fleet`.

    Exactly one of response and error is set. id: `<job>-<item>`, so a line has one name for ever.
    """

    id: str
    custom_id: str | None
    response: Response | None = None
    error: WireError | None = None
    usage: dict[str, int] | None = None
    fleet: FleetInfo


class TokenDelta(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a live answer.

    offset: the index of its first token, from 0, within the item and choice. text_offset: the index
    of the first character of `text` in the whole text. A resumed answer may tell again what was
    told before, always from its beginning: a reader keeps what lies beyond what it has.
    """

    item: int
    offset: int
    text: str
    token_ids: tuple[int, ...]
    text_offset: int = 0
    choice: int = 0
    finish_reason: str | None = None
