"""A file of requests is judged as a whole, and cut without being changed."""

import hashlib
import io
import json

import pytest

from fleet import batch_file
from fleet.batch_file import MAX_LINE_BYTES, Problem, Survey, bodies, survey
from fleet.errors import UsageError
from fleet.manifest import Run


def line(custom_id: str | None, **body: object) -> bytes:
    request: dict[str, object] = {
        "url": "/v1/chat/completions",
        "body": {"messages": [{"role": "user", "content": "hi"}], **body},
    }
    if custom_id is not None:
        request["custom_id"] = custom_id
    return json.dumps(request).encode()


def surveyed(*lines: bytes, model: str | None = None, chunk: int = 64) -> Survey:
    return survey(io.BytesIO(b"\n".join(lines)), model=model, chunk=chunk)


def where(found: Survey) -> list[tuple[int, str]]:
    return [(problem.line, problem.code) for problem in found.problems]


def test_a_good_file_has_no_problems_and_a_layout() -> None:
    content = b"\n".join(line(f"row-{n}") for n in range(5)) + b"\n"
    found = survey(io.BytesIO(content), chunk=2)
    assert found.problems == ()
    assert found.layout == (Run(2, 2), Run(1, 1))
    assert found.sha256 == hashlib.sha256(content).hexdigest()


def test_all_bad_lines_are_reported_at_once() -> None:
    found = surveyed(
        line("a"),
        b"{not json",
        line("b", temprature=1),
        line(None),
        line("a"),
        b"[]",
        b'"\xff"',
        b'{"custom_id": "c", "url": "/v1/images", "body": {}}',
        b'{"custom_id": "d", "body": ' + b"[" * 5000,
    )
    assert where(found) == [
        (2, "invalid_json"),
        (3, "invalid_request"),
        (4, "missing_custom_id"),
        (5, "duplicate_custom_id"),
        (6, "invalid_request"),
        (7, "invalid_request"),
        (8, "unknown_url"),
        (9, "invalid_json"),
    ]


def test_an_unknown_field_is_named() -> None:
    assert "temprature" in surveyed(line("a", temprature=1)).problems[0].message


def test_a_duplicate_names_both_lines() -> None:
    (problem,) = surveyed(line("a"), line("b"), b"", line("a")).problems
    assert problem == Problem(
        4, "duplicate_custom_id", "custom_id 'a' stands on line 1 too: make it unique"
    )


def test_a_bad_line_still_takes_its_custom_id() -> None:
    found = surveyed(line("a", temprature=1), line("a"))
    assert where(found) == [(1, "invalid_request"), (2, "duplicate_custom_id")]


def test_blank_lines_are_skipped_but_counted() -> None:
    found = surveyed(b"", line("a"), b" \t\r", b"oops")
    assert where(found) == [(4, "invalid_json")]


def test_windows_line_ends_are_fine() -> None:
    content = line("a") + b"\r\n" + line("b") + b"\r\n"
    assert survey(io.BytesIO(content)).problems == ()
    (body,) = bodies(io.BytesIO(content), survey(io.BytesIO(content)))
    assert body == b'{"requests":[' + line("a") + b"," + line("b") + b"]}"


def test_a_byte_order_mark_is_an_error_and_hides_no_other() -> None:
    assert where(surveyed(b"\xef\xbb\xbf" + line(None))) == [
        (1, "byte_order_mark"),
        (1, "missing_custom_id"),
    ]


def test_a_utf16_file_gives_one_error() -> None:
    content = line("a").decode().encode("utf-16") + b"\n" + line("b").decode().encode("utf-16")
    assert where(survey(io.BytesIO(content))) == [(1, "not_utf8")]


def test_the_model_is_taken_from_the_bodies() -> None:
    assert surveyed(line("a"), line("b", model="m1"), line("c", model="m1")).model == "m1"


def test_two_models_in_one_file_are_an_error_that_names_both() -> None:
    (problem,) = surveyed(line("a", model="m1"), line("b", model="m2")).problems
    assert problem.code == "other_model"
    assert "'m2'" in problem.message
    assert "line 1 asks for 'm1'" in problem.message


def test_a_body_that_contradicts_the_chosen_model_is_an_error() -> None:
    (problem,) = surveyed(line("a", model="m1"), line("b"), model="m2").problems
    assert (problem.line, problem.code) == (1, "other_model")


def test_endpoints_may_be_mixed() -> None:
    embedding = b'{"custom_id": "e", "url": "/v1/embeddings", "body": {"input": "x"}}'
    assert surveyed(line("a"), embedding).problems == ()


def test_a_line_of_the_full_size_passes_and_a_longer_one_does_not() -> None:
    padding = MAX_LINE_BYTES - len(line("a", user=""))
    full = line("a", user="x" * padding)
    assert len(full) == MAX_LINE_BYTES
    assert surveyed(full, line("b")).problems == ()
    over = line("a", user="x" * (padding + 1))
    assert where(surveyed(over, line("b"), b"oops")) == [(1, "too_large"), (3, "invalid_json")]


def test_a_huge_line_is_one_line() -> None:
    found = surveyed(b"x" * (3 * MAX_LINE_BYTES), b"oops", b"y" * (2 * MAX_LINE_BYTES))
    assert where(found) == [(1, "too_large"), (2, "invalid_json"), (3, "too_large")]


def test_too_many_lines_are_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_file, "MAX_LINES", 2)
    (problem,) = surveyed(line("a"), line("b"), line("c"), line("d")).problems
    assert (problem.line, problem.code) == (3, "too_many_lines")
    assert "split the file" in problem.message


@pytest.mark.parametrize("content", [b"", b"\n\n", b"  \r\n"])
def test_an_empty_file_is_an_error(content: bytes) -> None:
    assert where(survey(io.BytesIO(content))) == [(1, "empty_file")]


@pytest.mark.parametrize("chunk", [0, 1025])
def test_a_chunk_size_out_of_range_is_a_usage_error(chunk: int) -> None:
    with pytest.raises(UsageError, match="1 to 1024"):
        survey(io.BytesIO(line("a")), chunk=chunk)


def test_lines_travel_byte_for_byte() -> None:
    odd = b'{ "custom_id":"a" ,"url":"\\/v1/embeddings","body":{"input":"\\u00e9 \xc3\xa9"} }'
    (body,) = bodies(io.BytesIO(odd), surveyed(odd))
    assert odd in body


@pytest.mark.parametrize(
    "now", [[line("a"), line("x"), line("c")], [line("a")], [line(i) for i in "abcd"]]
)
def test_a_file_that_changed_since_its_survey_is_noticed(now: list[bytes]) -> None:
    before = surveyed(line("a"), line("b"), line("c"), chunk=1)
    with pytest.raises(UsageError, match="changed"):
        list(bodies(io.BytesIO(b"\n".join(now)), before))
