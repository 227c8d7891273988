"""Dead letters keep the job and the reason, and obey nothing that the job brought along."""

import pytest

from fleet.broker.connection import Connection
from fleet.broker.dead import DeadLetter, DeadLetters, one_line
from fleet.broker.stored import Stored, last_message


@pytest.fixture
def dead(provisioned: Connection) -> DeadLetters:
    return DeadLetters(provisioned)


async def bury(
    dead: DeadLetters,
    tenant: str,
    *,
    payload: bytes = b"{}",
    headers: dict[str, str] | None = None,
    reason: str = "it failed",
    job: str | None = "job-1",
    sequence: int = 1,
    history: tuple[str, ...] = (),
) -> None:
    await dead.bury(
        subject=f"jobs.batch.smollm2.{tenant}",
        payload=payload,
        headers=headers or {},
        reason=reason,
        code="attempts_exhausted",
        tenant=tenant,
        job=job,
        # The stream's name makes the id of the letter unique to this test.
        stream=f"JOBS_{tenant}",
        sequence=sequence,
        history=history,
    )


async def letter_of(dead: DeadLetters, tenant: str) -> DeadLetter:
    (letter,) = [letter for letter in await dead.list(limit=1000) if letter.tenant == tenant]
    return letter


async def stored_of(connection: Connection, tenant: str) -> Stored:
    stored = await last_message(connection, "DEAD", f"dead.batch.smollm2.{tenant}")
    assert stored is not None
    return stored


async def test_a_letter_holds_the_job_and_why_it_was_given_up(
    dead: DeadLetters, provisioned: Connection, unique: str
) -> None:
    await bury(dead, unique, payload=b'{"url":"x"}', history=("node n1: engine died",), sequence=9)
    letter = await letter_of(dead, unique)
    assert (letter.tier, letter.model, letter.job) == ("batch", "smollm2", "job-1")
    assert (letter.code, letter.reason) == ("attempts_exhausted", "it failed")
    assert (letter.stream, letter.stream_sequence) == (f"JOBS_{unique}", "9")
    assert letter.history == ("node n1: engine died",)
    assert (await stored_of(provisioned, unique)).payload == b'{"url":"x"}'


async def test_a_job_is_buried_once(dead: DeadLetters, unique: str) -> None:
    await bury(dead, unique)
    await bury(dead, unique)
    await letter_of(dead, unique)


async def test_headers_that_command_the_broker_are_carried_and_not_obeyed(
    dead: DeadLetters, provisioned: Connection, unique: str
) -> None:
    hostile = {
        "Nats-Rollup": "all",
        "Nats-TTL": "1",
        "Nats-Expected-Last-Sequence": "0",
        "Nats-Msg-Id": "mine",
        "Fleet-Code": "forged",
    }
    await bury(dead, unique, headers=hostile)
    stored = await stored_of(provisioned, unique)
    assert not {"Nats-Rollup", "Nats-TTL", "Nats-Expected-Last-Sequence"} & stored.headers.keys()
    assert stored.headers["Fleet-Code"] == "attempts_exhausted"
    assert '"Nats-Rollup": "all"' in stored.headers["Fleet-Headers"]


async def test_a_hostile_reason_becomes_one_harmless_line(dead: DeadLetters, unique: str) -> None:
    await bury(dead, unique, reason="a\r\nNats-Rollup: all\x1b]52;c;x\x07\u202eend" + "x" * 5000)
    reason = (await letter_of(dead, unique)).reason
    assert reason.isprintable()
    assert reason.startswith("a  Nats-Rollup: all ]52;c;x  end")
    assert len(reason) == 1000


async def test_a_job_without_a_usable_subject_or_id_is_buried_all_the_same(
    dead: DeadLetters, provisioned: Connection, unique: str
) -> None:
    await dead.bury(
        subject="jobs.*.>",
        payload=b"\xff",
        headers={"bad": "\x00" * 99999},
        reason="no such subject",
        code="invalid_subject",
        tenant=None,
        job="../../etc",
        stream=f"JOBS_{unique}",
        sequence=1,
    )
    stored = await last_message(provisioned, "DEAD", "dead._._._")
    assert stored is not None
    assert stored.headers["Fleet-Stream"] == f"JOBS_{unique}"
    assert "Fleet-Job-Id" not in stored.headers
    assert "Fleet-Headers" not in stored.headers


async def test_a_job_that_leaves_no_room_for_the_reason_is_named_by_its_hash(
    dead: DeadLetters, provisioned: Connection, unique: str
) -> None:
    size = provisioned.max_payload
    await bury(dead, unique, payload=b"x" * size)
    stored = await stored_of(provisioned, unique)
    assert stored.payload == b""
    assert stored.headers["Fleet-Omitted"].startswith(f"{size} bytes, sha256 ")


async def test_the_list_ends_with_the_newest(dead: DeadLetters, unique: str) -> None:
    for sequence in range(5):
        await bury(dead, unique, sequence=sequence)
    letters = await dead.list(limit=2)
    assert [letter.stream_sequence for letter in letters] == ["3", "4"]
    assert await dead.list(limit=0) == []


def test_a_short_line_is_left_alone() -> None:
    assert one_line("grüße, 世界", 20) == "grüße, 世界"
