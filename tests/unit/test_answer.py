"""One answer: where it goes on, where it ends, and what it costs."""

from typing import Any

import pytest

from consumers.answer import Answer, completion_body, usage_of
from consumers.engine import Step
from consumers.scripted_engine import ScriptedEngine, text_of, token
from fleet.job import ChatBody, Message

END = token(b"p", 2)
IDS = tuple(token(b"p", n) for n in range(6))


def answer_of(
    *done: int, limit: int = 6, watched: bool = False, ends: bool = False, **body: Any
) -> Answer:
    engine = ScriptedEngine(model="m")
    if ends:
        engine.end_token_ids = frozenset({END})
    messages = (Message(role="user", content="p"),)
    return Answer(
        engine=engine,
        body=ChatBody(messages=messages, **body),
        choice=0,
        prompt_ids=(1, 2, 3),
        done_ids=done,
        limit=limit,
        watched=watched,
    )


def texts(*ids: int) -> str:
    return "".join(map(text_of, ids))


def test_a_new_answer_has_nothing_and_goes_on() -> None:
    answer = answer_of()
    assert answer.ids == []
    assert answer.finish is None


def test_a_saved_answer_goes_on_behind_its_tokens() -> None:
    answer = answer_of(*IDS[:2])
    answer.take(Step(token_ids=IDS[2:], finish="length"))
    assert (answer.text, answer.finish) == (texts(*IDS), "length")


def test_a_saved_answer_whose_limit_is_used_up_is_complete() -> None:
    answer = answer_of(*IDS[:4], limit=4)
    assert (answer.text, answer.finish) == (texts(*IDS[:4]), "length")


def test_a_saved_answer_that_ended_is_complete() -> None:
    answer = answer_of(*IDS[:3], ends=True)
    assert (answer.text, answer.finish) == (texts(*IDS[:3]), "stop")


@pytest.mark.parametrize("body", [{"ignore_eos": True}, {"min_tokens": 5}])
def test_an_end_that_did_not_count_does_not_complete_a_saved_answer(
    body: dict[str, Any],
) -> None:
    assert answer_of(*IDS[:3], ends=True, **body).finish is None


def test_a_stop_string_across_the_seam_ends_the_answer() -> None:
    stop = texts(*IDS[1:3])[3:11]
    answer = answer_of(*IDS[:2], stop=stop)
    answer.take(Step(token_ids=IDS[2:]))
    assert (answer.text, answer.finish) == (texts(*IDS).partition(stop)[0], "stop")
    assert len(answer.ids) == 3


def test_a_stop_string_within_the_saved_tokens_ends_the_answer() -> None:
    answer = answer_of(*IDS[:4], stop=[text_of(IDS[1])[:6]])
    assert (answer.text, answer.finish) == (texts(IDS[0]), "stop")


def test_a_watched_answer_tells_its_text_once() -> None:
    answer = answer_of(watched=True)
    told = []
    for n, token_id in enumerate(IDS):
        answer.take(Step(token_ids=(token_id,), finish="length" if n == 5 else None))
        told.append(answer.news())
    assert "".join(told) == answer.text == texts(*IDS)
    assert answer.news() == ""


def test_usage_counts_the_prompt_once_and_every_output_token_once() -> None:
    answers = [answer_of(*IDS[:2]), answer_of(*IDS[:3])]
    usage = usage_of(answers, n=2)
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (3, 5, 8)


def test_a_chat_has_the_shape_that_openai_gives_it() -> None:
    answer = answer_of(*IDS[:4], limit=4)
    engine = ScriptedEngine(model="m")
    messages = (Message(role="user", content="p"),)
    body = completion_body(
        ChatBody(messages=messages), [answer], engine=engine, request_id="j-0", created=5,
        usage=usage_of([answer], n=1),
    )  # fmt: skip
    assert body["object"] == "chat.completion"
    (choice,) = body["choices"]
    assert choice["message"] == {"role": "assistant", "content": texts(*IDS[:4])}
    assert (choice["index"], choice["finish_reason"], choice["logprobs"]) == (0, "length", None)
