"""Whatever a tenant asks for, no message of another tenant answers it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import JobRejected
from fleet.tenancy.reading import MAX_BYTES, MAX_MESSAGES, MAX_SUBJECTS, narrowed, own_subjects

# Few parts, so that patterns and subjects meet often.
PARTS = ["acme", "beta", "results", "tokens", "jobs", "batch", "m", "_", "$KV", "batches", "j"]
SUBJECTS = st.lists(st.sampled_from(PARTS), min_size=1, max_size=6).map(".".join)
PATTERNS = st.lists(st.sampled_from([*PARTS, "*", ">", ""]), min_size=1, max_size=6).map(".".join)
STREAMS = st.sampled_from([*own_subjects("acme"), "KV_claims", "DEAD", "EVENTS", "", "*"])
OF_STREAM = {"RESULTS": 1, "TOKENS": 1, "KV_batches": 2}


def matches(pattern: str, subject: str) -> bool:
    """Say whether the server would answer a question for `pattern` with `subject`."""
    asked, parts = pattern.split("."), subject.split(".")
    for number, one in enumerate(asked):
        if one == ">" and number == len(asked) - 1:
            return len(parts) > number
        if number >= len(parts) or one not in {"*", parts[number]}:
            return False
    return len(asked) == len(parts)


def owner(stream: str, subject: str) -> str:
    """Say whose a subject of a stream is."""
    parts = [*subject.split("."), "", "", ""]
    return parts[OF_STREAM.get(stream, 3)]


@given(STREAMS, PATTERNS, SUBJECTS)
def test_what_is_let_through_finds_only_ones_own(stream: str, pattern: str, subject: str) -> None:
    for body in ({"next_by_subj": pattern, "seq": 1}, {"multi_last": [pattern]}):
        try:
            narrowed(stream, "acme", json.dumps(body).encode())
        except JobRejected:
            continue
        if matches(pattern, subject):
            assert owner(stream, subject) == "acme"


@given(st.one_of(st.binary(max_size=200), PATTERNS.map(str.encode)))
def test_any_bytes_are_a_question_or_refused(body: bytes) -> None:
    for stream in own_subjects("acme"):
        try:
            narrowed(stream, "acme", body)
        except JobRejected:
            continue


@pytest.mark.parametrize(
    "question",
    [
        {},
        {"seq": 7},
        {"last_by_subj": "results.acme._.j"},
        {"next_by_subj": "results.acme.>", "no_hdr": True},
        {"next_by_subj": "results.acme.>", "batch": MAX_MESSAGES + 1},
        {"next_by_subj": "results.acme.>", "batch": -1},
        {"multi_last": ["results.acme.>", "results.beta._.j"]},
        {"multi_last": ["results.acme._.j"] * (MAX_SUBJECTS + 1)},
        {"multi_last": "results.acme.>"},
        {"next_by_subj": "results.acme.>", "multi_last": ["results.beta.>"]},
        {"next_by_subj": "results.acme." + "x" * MAX_BYTES},
        [],
    ],
)
def test_what_does_not_say_whose_it_is_is_refused(question: object) -> None:
    with pytest.raises(JobRejected):
        narrowed("RESULTS", "acme", json.dumps(question).encode())


@pytest.mark.parametrize("tenant", ["*", ">", "", "a.b", "Acme", "acme\n"])
def test_a_tenant_named_like_a_wildcard_reads_nothing(tenant: str) -> None:
    with pytest.raises(JobRejected):
        narrowed("RESULTS", tenant, b'{"next_by_subj": "results.*.>", "seq": 1}')


def test_what_clients_ask_is_passed_on_as_it_is() -> None:
    asked = {"seq": 4, "next_by_subj": "results.acme._.j", "batch": 256, "max_bytes": 4096}
    assert narrowed("RESULTS", "acme", json.dumps(asked).encode()) == asked
    asked = {"multi_last": ["results.acme._.j", "results.acme.b.k"], "batch": 256}
    passed_on = narrowed("RESULTS", "acme", json.dumps(asked).encode())
    assert json.loads(json.dumps(passed_on)) == asked
    asked = {"seq": 1, "next_by_subj": "jobs.batch.*.acme"}
    assert narrowed("JOBS_BATCH", "acme", json.dumps(asked).encode()) == asked
