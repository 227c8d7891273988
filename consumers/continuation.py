"""What an interruption does to an answer, by what was asked: the table of exact resume.

Measured on vLLM at float32: greedy answers, repetition penalty and a reduced `min_tokens` go on
token for token from prompt + kept ids. Frequency and presence penalties count output only, and kept
ids are prompt by then; a grammar starts anew; log probabilities of kept tokens are not saved. Those
begin again from zero, and are counted as such.
"""

from typing import Literal, TypeAlias

import msgspec

from consumers.engine import Sampling
from fleet.errors import JobRejected
from fleet.job import CompletionBody, GenerateBody

Continuation: TypeAlias = Literal["exact", "continued", "restarted"]


def choices(body: GenerateBody) -> int:
    """Return how many sequences the answer has: texts times `n`."""
    texts = len(body.texts) if isinstance(body, CompletionBody) else 1
    return max(1, texts) * body.n


def continuation(body: GenerateBody, *, exact: bool) -> Continuation:
    """Say how an interrupted answer to this request can go on.

    exact: the engine's greedy output depends neither on the batch nor on where it was cut.
    """
    carries_state = (
        body.frequency_penalty != 0
        or body.presence_penalty != 0
        or body.logprob_count is not None
        or json_schema(body) is not None
        or choices(body) > 1
    )
    if carries_state:
        return "restarted"
    return "exact" if exact and body.temperature == 0 else "continued"


def json_schema(body: GenerateBody) -> str | None:
    """Return the schema that the answer must follow as JSON text, `{}` for any object."""
    match body.response_format:
        case None:
            return None
        case form if form.type == "text":
            return None
        case form if form.type == "json_object":
            return "{}"
        case form:
            if form.json_schema is None:
                raise JobRejected(
                    "response_format json_schema needs `json_schema` with `name` and `schema`",
                    code="invalid_request",
                )
            return msgspec.json.encode(form.json_schema.schema).decode()


def sampling(body: GenerateBody, *, limit: int, done: int, choice: int = 0) -> Sampling:
    """Translate a request for an engine that gets `done` tokens of the answer as prompt.

    limit: the most tokens of the whole answer, over `done`. choice: of `n`; each has a seed of its
    own, else all were the same.
    """
    if body.min_tokens > limit:
        raise JobRejected(
            f"min_tokens ({body.min_tokens}) exceeds the most tokens possible ({limit})",
            code="invalid_request",
        )
    return Sampling(
        max_tokens=limit - done,
        min_tokens=max(0, body.min_tokens - done),
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=body.top_k,
        min_p=body.min_p,
        seed=None if body.seed is None else body.seed + choice,
        frequency_penalty=body.frequency_penalty,
        presence_penalty=body.presence_penalty,
        repetition_penalty=body.repetition_penalty,
        ignore_eos=body.ignore_eos,
        logprobs=body.logprob_count,
        json_schema=json_schema(body),
    )
