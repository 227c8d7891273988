"""One sequence of tokens in the making, and the OpenAI bodies that finished ones become."""

import base64
import struct
from collections.abc import Sequence
from typing import Any

from consumers.engine import Engine, FinishReason, Logprob, Step
from consumers.text import AnswerText
from fleet.job import ChatBody, GenerateBody, Usage


class Answer:
    """One choice of an item.

    prompt_ids: what the engine was given at first. done_ids: tokens of an earlier consumer, which
    are fed as prompt and never yielded again. limit: the most tokens, done ones included. watched:
    keep the text up to date token by token, for a live reader or for stop strings.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        body: GenerateBody,
        choice: int,
        prompt_ids: tuple[int, ...],
        done_ids: Sequence[int],
        limit: int,
        watched: bool,
    ) -> None:
        self.choice = choice
        self.prompt_ids = prompt_ids
        self.limit = limit
        self.ids: list[int] = []
        self.logprobs: list[tuple[Logprob, ...]] = []
        self.finish: FinishReason | None = None
        self._engine = engine
        self._body = body
        self._text = (
            AnswerText(engine.decode, stops=body.stops, min_tokens=body.min_tokens)
            if watched or body.stops
            else None
        )
        self._final = ""
        self.take(Step(token_ids=tuple(done_ids)))
        self._settle_saved()

    def take(self, step: Step) -> None:
        """Add what one step gave; sets `finish` when that ended the answer."""
        taken = self._text.push(step.token_ids) if self._text else len(step.token_ids)
        self.ids += step.token_ids[:taken]
        self.logprobs += step.logprobs[:taken]
        if self._text and self._text.stopped:
            self._end("stop")
        elif step.finish:
            self._end(step.finish)

    def news(self) -> str:
        """Return text that no live reader was told yet; needs `watched`."""
        return self._text.take(final=self.finish is not None) if self._text else ""

    @property
    def text(self) -> str:
        """The whole text of a finished answer."""
        return self._final

    def _settle_saved(self) -> None:
        """Find an answer complete that was saved when only its line was missing.

        An engine that gets it again generates on behind the end.
        """
        if self.finish or not self.ids:
            return
        ended = self.ids[-1] in self._engine.end_token_ids and not self._body.ignore_eos
        if ended and len(self.ids) >= self._body.min_tokens:
            self._end("stop")
        elif len(self.ids) >= self.limit:
            self._end("length")

    def _end(self, finish: FinishReason) -> None:
        self.finish = finish
        if self._text:
            self._text.finish()
            self._final = self._text.text
        else:
            self._final = self._engine.decode(self.ids)


def usage_of(answers: Sequence[Answer], *, n: int) -> Usage:
    """Count the caller's prompts once each, and every output token once."""
    return Usage(
        prompt_tokens=sum(len(answer.prompt_ids) for answer in answers[::n]),
        completion_tokens=sum(len(answer.ids) for answer in answers),
    )


def usage_json(usage: Usage) -> dict[str, int]:
    """Write usage the way OpenAI does."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def completion_body(
    body: GenerateBody,
    answers: Sequence[Answer],
    *,
    engine: Engine,
    request_id: str,
    created: int,
    usage: Usage,
) -> dict[str, Any]:
    """Build the body of a chat completion or of a completion."""
    chat = isinstance(body, ChatBody)
    one = _chat_choice if chat else _text_choice
    return {
        "id": request_id,
        "object": "chat.completion" if chat else "text_completion",
        "created": created,
        "model": engine.facts.model,
        "choices": [one(engine, body, answer) for answer in answers],
        "usage": usage_json(usage),
    }


def embedding_body(
    vectors: Sequence[Sequence[float]], *, model: str, encoding: str, prompt_tokens: int
) -> dict[str, Any]:
    """Build the body of an embeddings answer; base64 is little-endian float32, as OpenAI's."""
    return {
        "object": "list",
        "model": model,
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": _packed(vector) if encoding == "base64" else list(vector),
            }
            for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens},
    }


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _chat_choice(engine: Engine, body: GenerateBody, answer: Answer) -> dict[str, Any]:
    logprobs = None
    if body.logprob_count is not None:
        logprobs = {
            "content": [
                {**_told(engine, best), "top_logprobs": [_told(engine, x) for x in others]}
                for best, *others in answer.logprobs
            ]
        }
    return {
        "index": answer.choice,
        "message": {"role": "assistant", "content": answer.text},
        "logprobs": logprobs,
        "finish_reason": answer.finish,
    }


def _text_choice(engine: Engine, body: GenerateBody, answer: Answer) -> dict[str, Any]:
    logprobs = None
    if body.logprob_count is not None:
        tokens = [engine.token_text(best.token_id) for best, *_ in answer.logprobs]
        logprobs = {
            "tokens": tokens,
            "token_logprobs": [best.logprob for best, *_ in answer.logprobs],
            "top_logprobs": [
                {engine.token_text(x.token_id): x.logprob for x in others}
                for _, *others in answer.logprobs
            ],
            "text_offset": _offsets(tokens),
        }
    return {
        "index": answer.choice,
        "text": answer.text,
        "logprobs": logprobs,
        "finish_reason": answer.finish,
    }


def _told(engine: Engine, entry: Logprob) -> dict[str, Any]:
    text = engine.token_text(entry.token_id)
    return {"token": text, "logprob": entry.logprob, "bytes": list(text.encode())}


def _offsets(tokens: Sequence[str]) -> list[int]:
    offsets, at = [], 0
    for token in tokens:
        offsets.append(at)
        at += len(token)
    return offsets
