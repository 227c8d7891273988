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
        (chat(temperature=0.5), "exact"),
        (chat(temperature=0.5, seed=1), "exact"),
        (chat(temperature=0.5, top_p=0.9, top_k=40, min_p=0.01), "exact"),
        (chat(frequency_penalty=0.1), "exact"),
        (chat(presence_penalty=0.1), "exact"),
        (chat(logprobs=True), "restarted"),
        (chat(n=2), "restarted"),
        (chat(response_format=ResponseFormat("json_object")), "restarted"),
        (chat(response_format=ResponseFormat("text")), "exact"),
        (CompletionBody(prompt=("a", "b"), temperature=0), "restarted"),
        (CompletionBody(prompt=(1, 2), temperature=0), "exact"),
    ],
)
def test_each_kind_of_request_has_its_row(body: ChatBody | CompletionBody, kind: str) -> None:
    assert continuation(body, exact=True, keyed=True) == kind


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (chat(), "exact"),
        (chat(temperature=0.5, seed=1), "continued"),
        (chat(frequency_penalty=0.1), "restarted"),
        (chat(presence_penalty=0.1), "restarted"),
    ],
)
def test_an_engine_without_keyed_noise_knows_only_where_a_seed_began(
    body: ChatBody, kind: str
) -> None:
    assert continuation(body, exact=True, keyed=False) == kind


@pytest.mark.parametrize("body", [chat(), chat(temperature=0.5), chat(presence_penalty=0.1)])
def test_an_engine_that_is_not_exact_goes_on_with_a_valid_answer(body: ChatBody) -> None:
    assert continuation(body, exact=False, keyed=True) == "continued"


def test_limits_shrink_by_the_tokens_done() -> None:
    params = sampling(chat(min_tokens=10), limit=40, done=15)
    assert (params.max_tokens, params.min_tokens, params.kept) == (25, 0, 15)


def test_each_choice_of_a_seeded_request_has_a_seed_of_its_own() -> None:
    assert [sampling(chat(seed=7, n=2), limit=9, done=0, choice=c).seed for c in (0, 1)] == [7, 8]
    last = sampling(chat(seed=2**63 - 1, n=2), limit=9, done=0, choice=1)
    assert last.seed == -(2**63)


def test_whoever_goes_on_with_a_sampled_answer_makes_the_same_seed_of_its_name() -> None:
    def seed(name: str | None, **fields: object) -> int | None:
        return sampling(chat(temperature=1, **fields), limit=9, done=3, name=name).seed

    assert seed("acme/j/0/0") == seed("acme/j/0/0") != seed("acme/j/1/0")
    assert seed("acme/j/0/0", seed=5) == 5
    assert seed(None) is None
    assert sampling(chat(), limit=9, done=0, name="acme/j/0/0").seed is None


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
