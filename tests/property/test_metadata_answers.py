"""Whatever a metadata service answers, reading it never fails and never leaves too much time."""

from collections.abc import Callable

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from consumers.interruption.answers import (
    Answer,
    Reading,
    Scheduled,
    asg_state,
    aws_action,
    aws_rebalance,
    azure_events,
    azure_machine,
    gcp_maintenance,
    gcp_preempted,
)
from fleet.notice import Notice

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
TIMES = st.one_of(
    JSON,
    st.datetimes().map(lambda time: time.isoformat() + "Z"),
    st.datetimes().map(lambda time: time.strftime("%a, %d %b %Y %H:%M:%S GMT")),
    st.sampled_from(["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"]),
)
WORDS = st.sampled_from(
    ["terminate", "stop", "hibernate", "Preempt", "Terminate", "Started", "Scheduled", "me"]
)
EVENT = st.fixed_dictionaries(
    {},
    optional={
        "EventId": st.text(max_size=5) | JSON,
        "EventType": WORDS | JSON,
        "EventStatus": WORDS | JSON,
        "Resources": st.lists(WORDS, max_size=2) | JSON,
        "NotBefore": TIMES,
    },
)
BODIES = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([b"TRUE", b"FALSE", b"Terminated", b"TERMINATE_ON_HOST_MAINTENANCE"]),
    st.fixed_dictionaries(
        {"action": WORDS | JSON}, optional={"time": TIMES, "noticeTime": TIMES}
    ).map(msgspec.json.encode),
    st.fixed_dictionaries({"Events": st.lists(EVENT, max_size=3) | JSON}).map(msgspec.json.encode),
)
ANSWERS = st.builds(
    Answer,
    status=st.sampled_from([200, 200, 200, 204, 301, 401, 403, 404]),
    body=BODIES,
    headers=st.fixed_dictionaries(
        {},
        optional={
            "date": TIMES.filter(lambda time: isinstance(time, str)),
            "metadata-flavor": st.sampled_from(["Google", "x"]),
        },
    ),
    at=st.floats(0, 1e6),
    cut=st.booleans(),
)
READERS: list[Callable[[Answer], Reading]] = [
    aws_action, aws_rebalance, asg_state, gcp_preempted, gcp_maintenance,
]  # fmt: skip


@given(ANSWERS)
def test_any_answer_is_read(answer: Answer) -> None:
    for read in READERS:
        check(read(answer), answer)
    azure_machine(answer)
    found = azure_events(answer, "me")
    for one in found if isinstance(found, list) else []:
        check(one.notice if isinstance(one, Scheduled) else one, answer)


def check(reading: Reading, answer: Answer) -> None:
    if isinstance(reading, Notice) and reading.kind == "terminate":
        assert reading.deadline is not None
        assert 0 <= reading.deadline - answer.at <= 120.001
        assert answer.status == 200
        assert reading.detail.isprintable()
