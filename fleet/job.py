"""What crosses the queue: jobs, items, result lines and token deltas.

Wire structs accept unknown fields and give every new field a default, because messages outlive
deployments. The one exception is the request body, in `fleet.body`.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from fleet.body import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    Body,
    ChatBody,
    CompletionBody,
    EmbeddingBody,
    GenerateBody,
    Message,
    TextPart,
    Url,
)
from fleet.bounds import Count, Seconds, Usd

__all__ = [
    "CHAT",
    "COMPLETIONS",
    "EMBEDDINGS",
    "MAX_CUSTOM_ID",
    "MAX_ITEMS",
    "MAX_JOB_BYTES",
    "MIB",
    "TIERS",
    "BadItem",
    "Body",
    "CapacityType",
    "ChatBody",
    "CompletionBody",
    "EmbeddingBody",
    "FleetInfo",
    "GenerateBody",
    "Item",
    "Job",
    "Message",
    "Response",
    "ResultLine",
    "Resumed",
    "Source",
    "TextPart",
    "Tier",
    "TokenDelta",
    "Url",
    "Usage",
    "WireError",
]

MIB = 1024 * 1024
# Payload and headers of one message. Above it the body belongs into a claim check.
MAX_JOB_BYTES = MIB // 2
MAX_ITEMS = 1024
MAX_CUSTOM_ID = 512
MAX_URI = 2048
MAX_FIRST = 1_000_000_000


class Tier(StrEnum):
    """How urgent a job is, and so which capacity may serve it."""

    REALTIME = "realtime"
    BACKGROUND = "background"
    BATCH = "batch"


TIERS: tuple[str, ...] = tuple(Tier)
CapacityType: TypeAlias = Literal["on-demand", "spot"]


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


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that lie elsewhere: some lines of a file of requests in a blob store.

    uri: `objects://payloads/<tenant>/<name>`, or `s3://<bucket>/<prefix>/<tenant>/<name>` with the
    fleet's own bucket and prefix. sha256: hex digest of the whole file. first: the first line that
    is meant, from 0. count: how many.
    """

    uri: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_URI)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    first: Annotated[int, msgspec.Meta(ge=0, le=MAX_FIRST)]
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_ITEMS)]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One decoded message of the queue.

    deadline: seconds since the epoch, or None. sha256: hex digest of the payload, the job's
    fingerprint. items: in order of index, good and bad ones. source: where they are to be fetched
    from; until they are, `items` holds as many that say so.
    """

    id: str
    tenant: str
    model: str
    tier: Tier
    sha256: str
    items: tuple[Item | BadItem, ...]
    source: Source | None = None
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
    has a line. node, capacity_type: who answered; capacity_type is None where no consumer did.
    attempts: failures by the job's own fault. interruptions: consumers it outlived.
    queue_s: published until taken up by the consumer that finished it. run_s: seconds in that
    consumer. engine_s: its share of the time of that consumer's engine. cost_usd: that share at the
    node's price, None where no price is set. resumed: whether it went on from saved tokens: token
    for token, as a valid answer, or from zero again.
    """

    job: str
    item: Count
    items: Count
    node: str
    capacity_type: CapacityType | None
    zone: str = ""
    attempts: Count = 0
    interruptions: Count = 0
    queue_s: Seconds = 0.0
    run_s: Seconds = 0.0
    engine_s: Seconds = 0.0
    cost_usd: Usd | None = None
    resumed: Resumed = "no"


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """The answer in OpenAI's own shape: body is a chat completion, a completion or a list."""

    status_code: Count
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
    usage: dict[str, Count] | None = None
    fleet: FleetInfo


class TokenDelta(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a live answer.

    offset: the index of its first token, from 0, within the item and choice. text_offset: the index
    of the first character of `text` in the whole text. A piece may be told twice: a reader keeps
    what lies beyond what it has. One that says something else than what was told before at its
    place is of an answer that had to be begun again, and the last word counts.
    """

    item: Count
    offset: Count
    text: str
    token_ids: tuple[int, ...]
    text_offset: Count = 0
    choice: Count = 0
    finish_reason: str | None = None
