"""Whatever a stranger publishes: an error that says what to do, and a fleet that goes on."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from fleet.broker.dead import DeadLetter, DeadLetters
from fleet.errors import BrokerRefused
from fleet.job import MAX_JOB_BYTES, ResultLine
from tests.asking import MODEL, Asker, answer_to, chat, chunk, eventually, text_of
from tests.fleets import RunningFleet, running_fleet
from tests.integration import cli
from tests.integration.brokers import connected
from tests.integration.hostile_jobs import (
    BAD_BATCHES,
    BAD_BLOCKS,
    BAD_BODIES,
    BAD_IDS,
    BAD_SUBJECTS,
    CANARY,
    ODD_BLOCKS,
    REFUSED_BLOCKS,
)
from tests.raw import publish_raw

BODY = json.dumps(chat(CANARY)).encode()
ANSWER = answer_to(CANARY)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFleet]:
    with running_fleet(tmp_path_factory.mktemp("fleet"), "--spot", "1") as running:
        yield running
    # Here and not in a test of its own, so that the logs of all of them are looked at.
    assert [name for name, text in running.logs().items() if CANARY in text] == []


@pytest.fixture
async def asker(fleet: RunningFleet, unique: str) -> AsyncIterator[Asker]:
    """A tenant; after its test the same consumers still answer."""
    async with connected(fleet.nats) as connection:
        asker = Asker(connection, unique)
        yield asker
        prompts = [f"good{n}" for n in range(3)]
        lines = await asker.ask("batch", chunk([chat(prompt) for prompt in prompts]))
        assert list(map(text_of, lines)) == list(map(answer_to, prompts))
    assert fleet.gone() == [], fleet.log()


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_a_bad_body_is_an_error_under_its_id(asker: Asker, name: str) -> None:
    payload, code = BAD_BODIES[name]
    await asker.publish("batch", payload, headers={"Fleet-Job-Id": "bad"})
    (line,) = await asker.lines("bad")
    assert code_of(line) == code
    assert line.error is not None
    assert 10 < len(line.error.message) < 600


async def test_a_body_that_is_no_job_is_a_dead_letter_too(asker: Asker) -> None:
    receipt = await asker.publish("batch", b"hello", headers={"Fleet-Job-Id": "bad"})
    letter = await asker.dead_letter("bad")
    assert (letter.code, letter.stream_sequence) == ("invalid_json", str(receipt.sequence))
    assert "not valid JSON" in letter.reason


async def test_an_unknown_field_is_named(asker: Asker) -> None:
    (line,) = await asker.ask("realtime", chat(CANARY, temprature=0))
    assert line.error is not None
    assert "temprature" in line.error.message


async def test_a_job_over_the_limit_names_the_limit(asker: Asker) -> None:
    body = json.dumps(chat(CANARY * (MAX_JOB_BYTES // len(CANARY) + 1))).encode()
    assert len(body) < 1_000_000
    await asker.publish("batch", body, headers={"Fleet-Job-Id": "big"})
    (line,) = await asker.lines("big")
    assert code_of(line) == "too_large"
    assert line.error is not None
    assert str(MAX_JOB_BYTES) in line.error.message
    assert (await asker.dead_letter("big")).size_bytes > MAX_JOB_BYTES


async def test_a_message_over_the_servers_limit_is_the_servers_to_refuse(
    fleet: RunningFleet, asker: Asker
) -> None:
    said = publish_raw(fleet.nats, f"jobs.batch.{MODEL}.t".encode(), b"x" * 1_100_000)
    assert said.startswith(b"-ERR"), said


@pytest.mark.parametrize("name", BAD_BLOCKS)
async def test_a_malformed_header_block_is_an_error_at_its_place_in_the_stream(
    fleet: RunningFleet, asker: Asker, name: str
) -> None:
    job = await published(fleet, asker, BAD_BLOCKS[name])
    (line,) = await asker.lines(job)
    assert code_of(line) == "invalid_headers"
    assert (await asker.dead_letter(job)).code == "invalid_headers"


async def test_the_sweep_minds_no_header_block(fleet: RunningFleet, asker: Asker) -> None:
    blocks = [*BAD_BLOCKS.values(), *ODD_BLOCKS.values()]
    jobs = [await published(fleet, asker, block, model="nobody") for block in blocks]
    for job in jobs:
        (line,) = await asker.lines(job)
        assert code_of(line) == "unknown_model"
        assert (await asker.dead_letter(job)).code == "unknown_model"


@pytest.mark.parametrize("name", ODD_BLOCKS)
async def test_headers_that_mean_nothing_to_us_change_nothing(
    fleet: RunningFleet, asker: Asker, name: str
) -> None:
    job = await published(fleet, asker, ODD_BLOCKS[name])
    (line,) = await asker.lines(job)
    assert text_of(line) == ANSWER


@pytest.mark.parametrize("name", REFUSED_BLOCKS)
async def test_headers_that_command_the_stream_are_refused_by_it(
    fleet: RunningFleet, asker: Asker, name: str
) -> None:
    before = await last_sequence(asker)
    publish_raw(fleet.nats, subject_of(asker), BODY, REFUSED_BLOCKS[name])
    assert (await asker.publish("batch", BODY)).sequence == before + 1


async def test_the_first_of_several_ids_counts(fleet: RunningFleet, asker: Asker) -> None:
    block = b"NATS/1.0\r\nFleet-Job-Id: one\r\nFleet-Job-Id: two\r\n\r\n"
    await published(fleet, asker, block)
    assert text_of((await asker.lines("one"))[0]) == ANSWER


@pytest.mark.parametrize("text", BAD_IDS)
async def test_a_bad_id_is_an_error_at_the_jobs_place_in_the_stream(
    fleet: RunningFleet, asker: Asker, text: bytes
) -> None:
    job = await published(fleet, asker, b"NATS/1.0\r\nFleet-Job-Id: %b\r\n\r\n" % text)
    (line,) = await asker.lines(job)
    assert code_of(line) == "invalid_id"
    letter = await asker.dead_letter(job)
    assert "use 1 to 64 of" in letter.reason
    assert letter.reason.isprintable()


@pytest.mark.parametrize("text", BAD_BATCHES)
async def test_a_bad_batch_id_is_an_error_under_the_jobs_id(
    fleet: RunningFleet, asker: Asker, text: bytes
) -> None:
    block = b"NATS/1.0\r\nFleet-Job-Id: job\r\nFleet-Batch: %b\r\n\r\n" % text
    await published(fleet, asker, block)
    (line,) = await asker.lines("job")
    assert code_of(line) == "invalid_id"
    assert line.error is not None
    assert "batch id" in line.error.message


async def test_a_bad_deadline_is_an_error_under_the_jobs_id_and_batch(asker: Asker) -> None:
    headers = {"Fleet-Job-Id": "job", "Fleet-Batch": "b", "Fleet-Deadline": "tomorrow"}
    await asker.publish("background", BODY, headers=headers)
    (line,) = await asker.lines("job", "b")
    assert code_of(line) == "invalid_deadline"


async def test_a_tier_that_does_not_exist_takes_nothing(asker: Asker) -> None:
    with pytest.raises(BrokerRefused, match="no stream takes"):
        await asker.publish("urgent", BODY)


async def test_a_model_that_nobody_serves_is_an_error_that_names_those_served(
    asker: Asker,
) -> None:
    headers = {"Fleet-Job-Id": "job"}
    await asker.publish("realtime", BODY, model="gpt-9", headers=headers)
    (line,) = await asker.lines("job")
    assert code_of(line) == "unknown_model"
    assert line.error is not None
    assert "gpt-9" in line.error.message
    assert MODEL in line.error.message
    assert (await asker.dead_letter("job")).code == "unknown_model"


async def test_a_subject_that_is_none_is_refused_or_swept(
    fleet: RunningFleet, asker: Asker
) -> None:
    own = asker.tenant.encode()
    stored: list[tuple[int, bytes]] = []
    for model, tenant in BAD_SUBJECTS:
        to = tenant.replace(b"TENANT", own)
        before = await last_sequence(asker)
        assert publish_raw(fleet.nats, b"jobs.batch.%b.%b" % (model, to), BODY) == b"PONG"
        stored.append((await next_sequence(asker, before), to))
    for sequence, tenant in stored:
        letter = await buried(asker, sequence)
        assert letter.code in {"invalid_name", "unknown_model"}
        if tenant == own:
            (line,) = await asker.lines(f"JOBS_BATCH-{sequence}")
            assert code_of(line) == letter.code
    await queue_is_empty(asker)


async def test_one_sweep_by_hand_does_it_too(fleet: RunningFleet, asker: Asker) -> None:
    ran = await cli.fleet(fleet.nats, "sweep", "--json")
    assert (ran.code, ran.out) == (0, "")


def code_of(line: ResultLine) -> str | None:
    return line.error.code if line.error else None


def subject_of(asker: Asker, model: str = MODEL) -> bytes:
    return f"jobs.batch.{model}.{asker.tenant}".encode()


async def published(fleet: RunningFleet, asker: Asker, block: bytes, *, model: str = MODEL) -> str:
    """Publish a good body behind a header block; return the name of its place in the stream."""
    before = await last_sequence(asker)
    assert publish_raw(fleet.nats, subject_of(asker, model), BODY, block) == b"PONG"
    return f"JOBS_BATCH-{await next_sequence(asker, before)}"


async def last_sequence(asker: Asker) -> int:
    info: dict[str, Any] = await asker.connection.api("STREAM.INFO.JOBS_BATCH")
    return int(info["state"]["last_seq"])


async def next_sequence(asker: Asker, before: int) -> int:
    """Wait until the next message is stored, which nobody confirmed."""

    async def look() -> int | None:
        last = await last_sequence(asker)
        return last if last > before else None

    sequence = await eventually(look, "a stored message")
    assert sequence == before + 1
    return sequence


async def buried(asker: Asker, sequence: int) -> DeadLetter:
    """Wait for the dead letter of a message of JOBS_BATCH."""

    async def look() -> DeadLetter | None:
        letters = await DeadLetters(asker.connection).list(limit=1000)
        found = (one for one in letters if one.stream_sequence == str(sequence))
        return next((one for one in found if one.stream == "JOBS_BATCH"), None)

    return await eventually(look, f"the dead letter of {sequence}")


async def queue_is_empty(asker: Asker) -> None:
    async def look() -> bool:
        info = await asker.connection.api("STREAM.INFO.JOBS_BATCH", {"subjects_filter": ">"})
        return not info["state"].get("subjects")

    await eventually(look, "an empty queue")
