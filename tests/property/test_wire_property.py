"""Whatever the bytes are, decoding ends in a job or in a rejection."""

import json
import re
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fleet import subjects
from fleet.body import URLS
from fleet.errors import JobRejected
from fleet.job import BadItem, FleetInfo, Item, Job, ResultLine, Tier, WireError
from fleet.wire import (
    BATCH,
    DEADLINE,
    JOB_ID,
    MSG_ID,
    TRACEPARENT,
    Envelope,
    decode_envelope,
    decode_item,
    decode_job,
    decode_lines,
    encode_lines,
)

ENVELOPE = Envelope(id="j", tenant="t", model="m", tier=Tier.BATCH)
SAFE_SUBJECT = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
# Near misses: the names are ours, the values anything.
NAMES = st.sampled_from(
    ["url", "body", "custom_id", "method", "requests", "input", "messages", "prompt", "role",
     "content", "max_tokens", "n", "stop", "logprobs", "response_format", "json_schema", "schema"]
)  # fmt: skip
NEAR = st.recursive(
    VALUES | st.sampled_from([*URLS, "POST", "user", "json_schema"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=20,
)
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
BODIES = st.one_of(
    st.fixed_dictionaries(
        {"prompt": TEXT | st.lists(TEXT, min_size=1, max_size=4)},
        optional={"max_tokens": st.integers(1, 1_000_000), "temperature": st.floats(0, 2)},
    ).map(lambda body: ("/v1/completions", body)),
    st.fixed_dictionaries({"input": TEXT | st.lists(TEXT, min_size=1)}).map(
        lambda body: ("/v1/embeddings", body)
    ),
    st.lists(TEXT, min_size=1, max_size=4).map(
        lambda texts: (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": text} for text in texts]},
        )
    ),
)


def fit_to_show(message: str) -> bool:
    return message.isprintable() and len(message) < 1000


def decode(payload: bytes) -> Job | None:
    """Decode; None for a rejection, any other error passes."""
    with suppress(JobRejected):
        return decode_job(ENVELOPE, payload)
    with pytest.raises(JobRejected) as caught:
        decode_job(ENVELOPE, payload)
    assert fit_to_show(str(caught.value))
    return None


@given(st.binary() | st.text().map(str.encode))
@example(b"[" * 100_000)
@example(b'{"requests":[' + b"[" * 100_000)
@example(b'{"url":' + b"9" * 5000)
def test_any_bytes_are_decoded_or_rejected(payload: bytes) -> None:
    decode(payload)
    decode_item(payload, index=0)


@given(NEAR)
def test_any_json_is_decoded_or_rejected(value: Any) -> None:
    job = decode(json.dumps(value).encode())
    for item in job.items if job else ():
        if isinstance(item, BadItem):
            assert fit_to_show(item.error.message)


@given(st.lists(BODIES, min_size=1, max_size=8))
def test_valid_requests_keep_what_was_said(lines: list[tuple[str, dict[str, Any]]]) -> None:
    requests = [
        {"custom_id": f"row-{index}", "url": url, "body": body}
        for index, (url, body) in enumerate(lines)
    ]
    job = decode_job(ENVELOPE, json.dumps({"requests": requests}).encode())
    assert len(job.items) == len(requests)
    for item, request in zip(job.items, requests, strict=True):
        assert isinstance(item, Item)
        assert (item.custom_id, item.url) == (request["custom_id"], request["url"])
        kept = msgspec.to_builtins(item.body)
        for name, value in dict(lines[item.index][1]).items():
            if name != "messages":
                assert json.loads(json.dumps(kept[name])) == value


@given(
    st.text() | st.from_regex(r"jobs\.(batch|realtime|x)\.[a-z*>_-]{0,4}\.\S{0,4}"),
    st.dictionaries(
        st.sampled_from([JOB_ID, MSG_ID, DEADLINE, BATCH, TRACEPARENT]),
        st.text(max_size=70) | st.from_regex(r"[A-Za-z0-9_-]{1,70}"),
    ),
)
def test_every_accepted_name_makes_safe_subjects(subject: str, headers: dict[str, str]) -> None:
    try:
        env = decode_envelope(subject, headers, stream="JOBS_BATCH", sequence=1)
    except JobRejected:
        return
    made = [
        subjects.job_subject(env.tier, env.model, env.tenant),
        subjects.results_subject(env.tenant, env.batch, env.id),
        subjects.tokens_subject(env.tenant, env.batch, env.id),
        subjects.dead_subject(env.tier, env.model, env.tenant),
        subjects.claim_key(env.tenant, env.id),
    ]
    for name in made:
        assert SAFE_SUBJECT.fullmatch(name)
        assert len(name) < 256
    assert made[0] == subject
    assert [name.count(".") for name in made] == [3, 3, 3, 3, 1]


@given(st.text(), st.text(), st.text())
def test_a_dead_letter_finds_a_place_whatever_the_job_was_called(
    tier: str, model: str, tenant: str
) -> None:
    assert SAFE_SUBJECT.fullmatch(subjects.dead_subject(tier, model, tenant))


@given(st.lists(st.tuples(TEXT | st.none(), TEXT), max_size=5))
def test_result_lines_round_trip_whatever_they_quote(lines: list[tuple[str | None, str]]) -> None:
    info = FleetInfo(job="j", item=0, items=1, node="n", capacity_type="spot")
    written = tuple(
        ResultLine(id="j-0", custom_id=name, error=WireError("code", text), fleet=info)
        for name, text in lines
    )
    assert decode_lines(encode_lines(written)) == written
