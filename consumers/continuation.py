"""What an interruption does to an answer, by what was asked: the table of exact resume.

Proven on vLLM at float32, row by row: greedy answers, repetition penalty and a reduced `min_tokens`
go on token for token from prompt + kept ids, and so do sampling, frequency and presence penalties
where noise and counts are ours (`EngineFacts.keyed`). A grammar starts anew, log probabilities of
kept tokens are not saved, and of several choices a checkpoint would have to keep each: those begin
again from zero, and are counted as such. With keyed noise even they come to the same answer.
"""

import hashlib
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


def continuation(body: GenerateBody, *, exact: bool, keyed: bool) -> Continuation:
    """Say how an interrupted answer to this request can go on.

    exact, keyed: what the engine's facts say.
    """
    counts_output = body.frequency_penalty != 0 or body.presence_penalty != 0
    carries_state = (
        (counts_output and not keyed)
        or body.logprob_count is not None
        or json_schema(body) is not None
        or choices(body) > 1
    )
    if carries_state:
        return "restarted"
    return "exact" if exact and (keyed or body.temperature == 0) else "continued"


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


def sampling(
    body: GenerateBody, *, limit: int, done: int, choice: int = 0, name: str | None = None
) -> Sampling:
    """Translate a request for an engine that gets `done` tokens of the answer as prompt.

    limit: the most tokens of the whole answer, over `done`. choice: of `n`; each has a seed of its
    own, else all were the same. name: what the seed is made of where the caller gave none, the same
    at whoever goes on with the answer; None for no seed then.
    """
    if body.min_tokens > limit:
        raise JobRejected(
            f"min_tokens ({body.min_tokens}) exceeds the most tokens possible ({limit})",
            code="invalid_request",
        )
    return Sampling(
        max_tokens=limit - done,
        min_tokens=max(0, body.min_tokens - done),
        kept=done,
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=body.top_k,
        min_p=body.min_p,
        seed=_seed(body, choice, name),
        frequency_penalty=body.frequency_penalty,
        presence_penalty=body.presence_penalty,
        repetition_penalty=body.repetition_penalty,
        ignore_eos=body.ignore_eos,
        logprobs=body.logprob_count,
        json_schema=json_schema(body),
    )


def _seed(body: GenerateBody, choice: int, name: str | None) -> int | None:
    if body.seed is not None:
        # Seeds are signed and have 64 bits: behind the greatest comes the least.
        return (body.seed + choice + 2**63) % 2**64 - 2**63
    if name is None or body.temperature == 0:
        return None
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
