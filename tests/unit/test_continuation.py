"""The table of what an interruption does to an answer."""

import pytest

from consumers.continuation import continuation, json_schema, sampling
from fleet.body import ChatBody, CompletionBody, JsonSchema, Message, ResponseFormat
from fleet.errors import JobRejected

MESSAGES = (Message("user", "hi"),)


def chat(**fields: object) -> ChatBody:
    return ChatBody(messages=MESSAGES, **({"temperature": 0} | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (chat(), "exact"),
        (chat(repetition_penalty=1.3), "exact"),
        (chat(min_tokens=5), "exact"),
        (chat(stop="x"), "exact"),
        (chat(seed=1), "exact"),
        (chat(temperature=0.5), "continued"),
        (chat(temperature=0.5, seed=1), "continued"),
        (chat(frequency_penalty=0.1), "restarted"),
        (chat(presence_penalty=0.1), "restarted"),
        (chat(logprobs=True), "restarted"),
        (chat(n=2), "restarted"),
        (chat(response_format=ResponseFormat("json_object")), "restarted"),
        (chat(response_format=ResponseFormat("text")), "exact"),
        (CompletionBody(prompt=("a", "b"), temperature=0), "restarted"),
        (CompletionBody(prompt=(1, 2), temperature=0), "exact"),
    ],
)
def test_each_kind_of_request_has_its_row(body: ChatBody | CompletionBody, kind: str) -> None:
    assert continuation(body, exact=True) == kind


def test_an_engine_that_is_not_exact_continues_a_greedy_answer_as_a_valid_one() -> None:
    assert continuation(chat(), exact=False) == "continued"


def test_limits_shrink_by_the_tokens_done() -> None:
    params = sampling(chat(min_tokens=10), limit=40, done=15)
    assert (params.max_tokens, params.min_tokens) == (25, 0)


def test_each_choice_of_a_seeded_request_has_a_seed_of_its_own() -> None:
    assert [sampling(chat(seed=7, n=2), limit=9, done=0, choice=c).seed for c in (0, 1)] == [7, 8]


def test_more_min_tokens_than_can_be_made_are_refused() -> None:
    with pytest.raises(JobRejected, match="min_tokens"):
        sampling(chat(min_tokens=50), limit=40, done=0)


def test_a_schema_goes_to_the_engine_as_json_text() -> None:
    schema = JsonSchema(name="x", schema={"type": "object"})
    form = ResponseFormat("json_schema", json_schema=schema)
    assert json_schema(chat(response_format=form)) == '{"type":"object"}'


def test_json_schema_without_a_schema_is_refused() -> None:
    with pytest.raises(JobRejected, match="json_schema"):
        json_schema(chat(response_format=ResponseFormat("json_schema")))
