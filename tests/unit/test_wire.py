"""Foreign bytes: every kind of bad input becomes one typed rejection that says what to do."""

import json

import pytest

from fleet.body import ChatBody, CompletionBody
from fleet.errors import JobRejected
from fleet.job import MAX_ITEMS, MAX_JOB_BYTES, BadItem, Item, Job, Tier
from fleet.wire import Envelope, decode_item, decode_job

ENVELOPE = Envelope(id="j1", tenant="acme", model="smollm2", tier=Tier.BATCH)
DEEP = "[" * 100_000 + "]" * 100_000


def completion(**fields: object) -> dict[str, object]:
    return {"url": "/v1/completions", "body": {"prompt": "hi", **fields}}


def raw_completion(fields: str) -> bytes:
    """A completion with fields that json.dumps would not write."""
    return b'{"url":"/v1/completions","body":{"prompt":"hi",%b}}' % fields.encode()


def chat(content: object, **fields: object) -> dict[str, object]:
    body = {"messages": [{"role": "user", "content": content}], **fields}
    return {"url": "/v1/chat/completions", "body": body}


def decode(value: object) -> Job:
    return decode_job(ENVELOPE, value if isinstance(value, bytes) else json.dumps(value).encode())


def only(job: Job) -> Item | BadItem:
    (item,) = job.items
    return item


def refused(value: object) -> BadItem:
    item = only(decode(value))
    assert isinstance(item, BadItem)
    return item


def test_a_single_request_is_a_job_of_one_item() -> None:
    job = decode(completion(max_tokens=5) | {"custom_id": "row-1"})
    item = only(job)
    assert isinstance(item, Item)
    assert isinstance(item.body, CompletionBody)
    assert (job.id, job.tenant, job.model, job.tier) == ("j1", "acme", "smollm2", Tier.BATCH)
    assert (item.index, item.custom_id, item.url) == (0, "row-1", "/v1/completions")
    assert item.body.limit == 5


def test_equal_bytes_have_equal_fingerprints_and_other_bytes_do_not() -> None:
    first, again, other = decode(completion()), decode(completion()), decode(completion(n=2))
    assert first.sha256 == again.sha256 != other.sha256


def test_unknown_fields_beside_the_body_are_let_through() -> None:
    assert isinstance(only(decode(completion() | {"priority": 3, "x": {"y": []}})), Item)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"   ",
        b"hello",
        b"{",
        b"{'url': 1}",
        b'{"url":"/v1/completions","body":{"prompt":"hi"}} {}',
        b"\xef\xbb\xbf" + json.dumps(completion()).encode(),
        json.dumps(completion()).encode("utf-16"),
        b'{"a":' * 80_000,
        json.dumps({"requests": [completion()], "input": 0}).replace("0", DEEP).encode(),
        b'{"url":"/v1/completions","body":%b}' % DEEP.encode(),
        b'{"input":"\xff\xfe"}',
        raw_completion('"temperature":NaN'),
        raw_completion('"temperature":Infinity'),
        raw_completion(r'"user":"\ud800"'),
    ],
)
def test_what_is_not_json_is_rejected_as_such(payload: bytes) -> None:
    with pytest.raises(JobRejected) as caught:
        decode_job(ENVELOPE, payload)
    assert caught.value.code == "invalid_json"


@pytest.mark.parametrize("payload", [b"null", b"1", b'"text"', b"[]", b"true", b"1e400"])
def test_json_that_is_no_object_is_rejected(payload: bytes) -> None:
    with pytest.raises(JobRejected) as caught:
        decode_job(ENVELOPE, payload)
    assert caught.value.code == "invalid_request"


def test_text_that_is_not_utf8_hurts_its_own_request_only() -> None:
    payload = json.dumps({"requests": [completion(), completion(user="~")]}).encode()
    good, bad = decode_job(ENVELOPE, payload.replace(b"~", b"\xff")).items
    assert isinstance(good, Item)
    assert isinstance(bad, BadItem)
    assert "UTF-8" in bad.error.message


@pytest.mark.parametrize("digits", [20, 400, 5000, 100_000])
@pytest.mark.parametrize("field", ["max_tokens", "temperature", "seed"])
def test_endless_numbers_are_refused_by_the_name_of_their_field(field: str, digits: int) -> None:
    error = refused(raw_completion(f'"{field}":{"9" * digits}')).error
    assert error.code == "invalid_request"
    assert field in error.message
    assert len(error.message) < 200


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"temprature": 0}, "temprature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1_000_001}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "0"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"n": 129}, "n"),
        ({"stop": [""]}, "stop"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"logprobs": 21}, "logprobs"),
        ({"echo": True}, "echo"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [1, "x"]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"prompt": ["x"] * 129}, "choices"),
        ({"prompt": None}, "prompt"),
        ({"response_format": {"type": "xml"}}, "xml"),
    ],
)
def test_a_wrong_value_is_refused_by_name(fields: dict[str, object], named: str) -> None:
    error = refused(completion(**fields)).error
    assert error.code == "invalid_request"
    assert named in error.message


@pytest.mark.parametrize(
    "line",
    [
        chat([{"type": "image_url", "image_url": {"url": "http://127.0.0.1/"}}]),
        chat([{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]),
        chat([{"type": "file", "file": {"file_id": "x"}}]),
        chat("hi", tools=[]),
        chat("hi", messages=[]),
        chat("hi", top_logprobs=21),
        {"url": "/v1/embeddings", "body": {"input": []}},
        {"url": "/v1/embeddings", "body": {"input": "a", "dimensions": 4}},
        {"url": "/v1/embeddings", "body": {"input": ["a"] * 2049}},
        {"url": "/v1/completions"},
        {"url": "/v1/completions", "body": None},
        {"url": 7, "body": {}},
        {"body": {"prompt": "x"}},
        {},
    ],
)
def test_what_we_do_not_serve_is_refused_not_ignored(line: dict[str, object]) -> None:
    assert refused(line).error.code == "invalid_request"


def test_an_unknown_url_is_refused_with_those_that_exist() -> None:
    error = refused({"url": "/v1/images", "body": {}}).error
    assert error.code == "unknown_url"
    assert "/v1/chat/completions" in error.message


def test_only_post_is_taken() -> None:
    assert refused(completion() | {"method": "GET"}).error.code == "invalid_method"


def test_a_schema_nested_beyond_reason_is_refused() -> None:
    schema: dict[str, object] = {"type": "object"}
    for _ in range(70):
        schema = {"items": schema}
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    assert "nested deeper" in refused(completion(response_format=form)).error.message


def test_foreign_text_in_an_error_is_escaped_and_cut() -> None:
    message = refused(completion(**{"\x1b[31m" + "k" * 9000: 1})).error.message
    assert message.isprintable()
    assert len(message) < 500


def test_a_bad_request_does_not_hurt_its_neighbours() -> None:
    lines = [completion(), completion(temprature=1) | {"custom_id": "b"}, 7, chat("hi")]
    items = decode({"requests": lines}).items
    assert [type(item) for item in items] == [Item, BadItem, BadItem, Item]
    assert [item.index for item in items] == [0, 1, 2, 3]
    assert items[1].custom_id == "b"


def test_the_second_of_two_equal_custom_ids_is_refused() -> None:
    first, second = decode({"requests": [completion() | {"custom_id": "a"}] * 2}).items
    assert isinstance(first, Item)
    assert isinstance(second, BadItem)
    assert second.error.code == "duplicate_custom_id"


@pytest.mark.parametrize("custom_id", ["", "a" * 513, "a\x1b[2J", "a\nb", "\u202e"])
def test_a_custom_id_that_would_hurt_a_terminal_is_refused(custom_id: str) -> None:
    item = refused(completion() | {"custom_id": custom_id})
    assert item.custom_id is None
    assert item.error.code == "invalid_custom_id"
    assert item.error.message.isprintable()


@pytest.mark.parametrize("count", [0, MAX_ITEMS + 1])
def test_a_chunk_holds_at_least_one_request_and_not_too_many(count: int) -> None:
    with pytest.raises(JobRejected, match=f"holds {count} requests"):
        decode({"requests": [1] * count})


def test_an_oversized_job_is_refused_before_it_is_decoded() -> None:
    for payload, headers_bytes in ((b"\xff" * (MAX_JOB_BYTES + 1), 0), (b"\xff", MAX_JOB_BYTES)):
        with pytest.raises(JobRejected) as caught:
            decode_job(ENVELOPE, payload, headers_bytes=headers_bytes)
        assert caught.value.code == "too_large"


def test_a_job_of_exactly_the_largest_size_is_taken() -> None:
    room = MAX_JOB_BYTES - len(json.dumps(completion(user="")))
    assert isinstance(only(decode(completion(user="x" * room))), Item)


SOURCE = {"uri": "objects://payloads/acme/a.jsonl", "sha256": "0" * 64, "first": 2, "count": 3}


def test_an_input_elsewhere_names_its_lines_and_stands_for_as_many_items() -> None:
    job = decode({"input": SOURCE})
    assert job.source is not None
    assert (job.source.first, job.source.count) == (2, 3)
    assert [item.index for item in job.items] == [0, 1, 2]
    assert all(isinstance(item, BadItem) for item in job.items)


@pytest.mark.parametrize(
    "changed",
    [
        {"sha256": "A" * 64}, {"sha256": "0" * 63}, {"first": -1}, {"first": 10**12},
        {"first": "0"}, {"count": 0}, {"count": 1025}, {"count": 1.5}, {"count": None},
        {"uri": ""}, {"uri": 5}, {"uri": "x" * 3000},
    ],
)  # fmt: skip
def test_an_input_with_a_wrong_field_is_refused_with_what_it_takes(
    changed: dict[str, object],
) -> None:
    with pytest.raises(JobRejected, match="uri, sha256, first and count") as caught:
        decode({"input": SOURCE | changed})
    assert caught.value.code == "invalid_input"


def test_an_input_of_another_tenant_is_refused() -> None:
    with pytest.raises(JobRejected, match="is not tenant acme's") as caught:
        decode({"input": SOURCE | {"uri": "objects://payloads/other/a.jsonl"}})
    assert caught.value.code == "foreign_input"


def test_requests_and_an_input_together_are_refused() -> None:
    with pytest.raises(JobRejected, match="both"):
        decode({"requests": [completion()], "input": SOURCE})


def test_an_empty_text_prompt_is_text() -> None:
    body = CompletionBody(prompt="")
    assert (body.texts, body.prompt_ids) == (("",), None)
    assert CompletionBody(prompt=(1, 2)).prompt_ids == (1, 2)
    assert CompletionBody(prompt=("a", "b")).texts == ("a", "b")


def test_limits_and_stops_read_the_same_however_they_were_written() -> None:
    item = decode_item(
        json.dumps(chat("hi", max_completion_tokens=7, stop="END")).encode(), index=0
    )
    assert isinstance(item, Item)
    assert isinstance(item.body, ChatBody)
    assert (item.body.limit, item.body.stops, item.body.logprob_count) == (7, ("END",), None)
