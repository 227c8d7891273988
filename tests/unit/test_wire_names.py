"""Subjects and headers: who asks, and under which names answers will be found."""

import pytest

from fleet.errors import JobRejected
from fleet.wire import (
    BATCH,
    DEADLINE,
    JOB_ID,
    MSG_ID,
    TRACEPARENT,
    Envelope,
    decode_envelope,
    job_headers,
)

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def envelope(subject: str = "jobs.batch.smollm2.acme", **headers: str) -> Envelope:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return decode_envelope(subject, named, stream="JOBS_BATCH", sequence=17)


def test_the_id_comes_from_our_header_then_from_nats_then_from_the_stream() -> None:
    assert envelope(Fleet_Job_Id="a", Nats_Msg_Id="b").id == "a"
    assert envelope(Nats_Msg_Id="b").id == "b"
    assert envelope().id == "JOBS_BATCH-17"


@pytest.mark.parametrize("header", [JOB_ID, MSG_ID, BATCH])
@pytest.mark.parametrize(
    "name", ["a.b", "a/b", "../a", "*", ">", "a b", "a\x00", "a\n", "\x1b[2J", "_x", "é", "a" * 65]
)
def test_an_id_that_could_leave_its_place_is_refused(header: str, name: str) -> None:
    with pytest.raises(JobRejected) as caught:
        decode_envelope("jobs.batch.m.t", {header: name}, stream="JOBS_BATCH", sequence=1)
    assert caught.value.code == "invalid_id"
    assert str(caught.value).isprintable()


def test_a_deadline_is_seconds_since_the_epoch() -> None:
    assert envelope(Fleet_Deadline="1970-01-01T01:00:30+01:00").deadline == 30


BAD = ["soon", "1767225600", "2027-01-31T12:00:00", "9" * 5000]
# Dates only until their offset is taken off: nobody could write them into a header again.
OUTSIDE = ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"]


@pytest.mark.parametrize("text", [*BAD, *OUTSIDE])
def test_a_deadline_without_a_zone_or_sense_is_refused(text: str) -> None:
    with pytest.raises(JobRejected, match=DEADLINE) as caught:
        envelope(Fleet_Deadline=text)
    assert caught.value.code == "invalid_deadline"
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["", "x", TRACE.upper(), TRACE + "\n", TRACE * 1000])
def test_a_broken_trace_is_no_trace_and_no_reason_to_refuse(text: str) -> None:
    assert envelope(**{TRACEPARENT: text}).traceparent is None
    assert envelope(**{TRACEPARENT: TRACE}).traceparent == TRACE


@pytest.mark.parametrize("deadline", [1e18, float("inf"), float("nan"), -1e18])
def test_a_deadline_that_is_no_date_is_not_written(deadline: float) -> None:
    with pytest.raises(JobRejected, match="is no date"):
        job_headers("acme", "j1", deadline=deadline)


def test_headers_that_we_write_are_read_again() -> None:
    headers = job_headers("acme", "j1", batch="b1", deadline=1e9)
    read = decode_envelope("jobs.batch.m.acme", headers, stream="JOBS_BATCH", sequence=1)
    assert (read.id, read.batch, read.deadline) == ("j1", "b1", 1e9)
