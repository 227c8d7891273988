"""Header blocks of any bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.broker.delivery import read_place
from fleet.broker.headers import encode_headers, headers_size, parse_headers
from fleet.broker.message import read_message
from fleet.errors import UsageError

V1 = "$JS.ACK.JOBS.d.2.17.30.1700000000123456789.4"
V2 = "$JS.ACK.hub.AbC1.JOBS.d.2.17.30.1700000000123456789.4"


def test_names_and_values_are_trimmed() -> None:
    block = parse_headers(b"NATS/1.0\r\nA:b\r\nC: \t d:e \r\nF:\r\n\r\n", last=False)
    assert block.headers == {"A": "b", "C": "d:e", "F": ""}
    assert not block.malformed


@pytest.mark.parametrize(("last", "value"), [(False, "1"), (True, "2")])
def test_of_a_repeated_name_the_first_or_the_last_counts(last: bool, value: str) -> None:
    assert parse_headers(b"NATS/1.0\r\nA: 1\r\nA: 2\r\n\r\n", last=last).headers == {"A": value}


@pytest.mark.parametrize(
    ("line", "status", "description"),
    [
        (b"NATS/1.0 503", "503", ""),
        (b"NATS/1.0 100 Idle Heartbeat", "100", "Idle Heartbeat"),
        (b"NATS/1.0", None, ""),
    ],
)
def test_the_status_line_is_read(line: bytes, status: str | None, description: str) -> None:
    block = parse_headers(line + b"\r\nA: b\r\n\r\n", last=True)
    assert (block.status, block.description, block.headers) == (status, description, {"A": "b"})
    assert not block.malformed


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\r\n\r\n",
        b"NATS/1.0",
        b"NATS/1.0\r\n",
        b"NATS/1.0 \r\n\r\n",
        b"NATS/1.0 5033\r\n\r\n",
        b"NATS/1.00\r\n\r\n",
        b"NATS/1.0\r\nno colon\r\n\r\n",
        b"NATS/1.0\r\n: v\r\n\r\n",
        b"NATS/1.0\r\nA b: v\r\n\r\n",
        b"NATS/1.0\r\n\xff: v\r\n\r\n",
        b"NATS/1.0\r\nA: \xff\r\n\r\n",
    ],
)
def test_what_breaks_the_rules_is_malformed(block: bytes) -> None:
    assert parse_headers(block, last=False).malformed


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda tail: b"NATS/1.0" + tail))
def test_no_block_raises(block: bytes) -> None:
    for reply in (b"", V1.encode(), b"$JS.ACK.", b"\xff"):
        message = read_message(b"\xff.a", reply, b"", block)
        assert message.headers_bytes == len(block)
        for text in (*message.headers, *message.headers.values(), message.subject):
            text.encode()


@given(
    st.dictionaries(st.from_regex(r"[A-Za-z-]+", fullmatch=True), st.text("ab\u00e9 "), max_size=5)
)
def test_the_size_is_that_on_the_wire(headers: dict[str, str]) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    block = f"NATS/1.0\r\n{lines}\r\n".encode()
    assert encode_headers(headers) == (block if headers else b"")
    assert headers_size(headers) == len(encode_headers(headers))
    read = parse_headers(block, last=False)
    assert not read.malformed
    assert read.headers == {name: value.strip() for name, value in headers.items()}


@given(st.dictionaries(st.sampled_from(["A", "B-c"]), st.text("a\r\n: "), min_size=1))
def test_no_value_begins_a_line_of_its_own(headers: dict[str, str]) -> None:
    read = parse_headers(encode_headers(headers), last=False)
    assert not read.malformed
    assert {name: value.replace("\r", " ").replace("\n", " ").strip()
            for name, value in headers.items()} == read.headers  # fmt: skip


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "\u00e9"])
def test_a_name_that_cannot_be_sent_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="header name"):
        encode_headers({name: "x"})


def test_a_stored_message_and_a_job_have_no_status() -> None:
    stored = b"NATS/1.0 408\r\nNats-Sequence: 5\r\nNats-Sequence: 7\r\n\r\n"
    direct = read_message(b"_INBOX.a", b"", b"x", stored)
    assert (direct.status, direct.headers) == (None, {"Nats-Sequence": "7"})
    job = read_message(b"jobs.a", V1.encode(), b"x", b"NATS/1.0 408 Timeout\r\n\r\n")
    assert (job.status, job.description, job.malformed) == (None, "", False)


def test_a_message_shows_no_payload() -> None:
    assert "secret" not in repr(read_message(b"a", b"", b"secret", b""))


@pytest.mark.parametrize("reply", [V1, V2, V2 + ".rAnDoM"])
def test_both_forms_of_an_ack_subject_are_read(reply: str) -> None:
    place = read_place(reply)
    assert place is not None
    assert place == ("JOBS", "d", 2, 17, 1700000000123456789, 4)


@pytest.mark.parametrize(
    "reply",
    ["", "$JS.ACK", "$JS.ACK.", "_INBOX.a", V1.replace("17", "-1"), V1.rpartition(".")[0], "x" + V1,
     V1.replace("17", "\u0661"), V1.replace("1700000000123456789", "9" * 400)],
)  # fmt: skip
def test_another_subject_is_no_ack_subject(reply: str) -> None:
    assert read_place(reply) is None


@given(st.lists(st.text("1a.\u0661", max_size=3), max_size=14))
def test_no_ack_subject_raises(tokens: list[str]) -> None:
    read_place("$JS.ACK." + ".".join(tokens))
