"""Jobs that point to their requests, on a real fleet with both stores."""

import hashlib
import json
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fleet.blob import blob_key, input_name
from fleet.blobs.s3 import S3, S3Config
from fleet.blobs.store import BlobStore
from fleet.broker.claims import Claims
from fleet.broker.objects import Objects
from fleet.job import ResultLine
from tests.asking import Asker, answer_to, chat, eventually, text_of
from tests.contract.s3_line import line_to
from tests.fleets import QUICK, RunningFleet, running_fleet
from tests.integration.brokers import connected
from tests.seaweed import BUCKET, LOGIN, Seaweed

pytestmark = pytest.mark.usefixtures("credentials")
ROWS = 12


def s3_env(endpoint: str) -> dict[str, str]:
    return {
        **QUICK,
        **LOGIN,
        "FLEET_S3_BUCKET": BUCKET,
        "FLEET_S3_PREFIX": "inputs",
        "FLEET_S3_ENDPOINT": endpoint,
        "FLEET_S3_REGION": "us-east-1",
        "FLEET_INPUT_MIB": "1",
    }


def s3_at(endpoint: str) -> S3:
    return S3(S3Config(bucket=BUCKET, prefix="inputs", endpoint=endpoint, region="us-east-1"))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, s3_server: Seaweed) -> Iterator[RunningFleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with running_fleet(folder, "--spot", "1", env=s3_env(s3_server.endpoint)) as running:
        yield running


@pytest.fixture
async def asker(fleet: RunningFleet, unique: str) -> AsyncIterator[Asker]:
    async with connected(fleet.nats) as connection:
        yield Asker(connection, unique)


@pytest.fixture(params=["objects", "s3"])
def store(request: pytest.FixtureRequest, asker: Asker, s3_server: Seaweed) -> BlobStore:
    if request.param == "objects":
        return Objects(asker.connection)
    return s3_at(s3_server.endpoint)


def file_of(unique: str, rows: int = ROWS) -> bytes:
    return b"".join(
        json.dumps({"custom_id": f"row-{n}", **chat(f"{unique} {n}")}).encode() + b"\n"
        for n in range(rows)
    )


def pointing(uri: str, data: bytes, first: int = 0, count: int = 1) -> dict[str, object]:
    sha256 = hashlib.sha256(data).hexdigest()
    return {"input": {"uri": uri, "sha256": sha256, "first": first, "count": count}}


async def stored(store: BlobStore, tenant: str, data: bytes) -> str:
    key = blob_key(tenant, input_name(hashlib.sha256(data).hexdigest()))
    await store.put(key, data)
    return store.uri(key)


async def refusal(asker: Asker, body: dict[str, object]) -> list[ResultLine]:
    """Ask for what is refused: an error for every item, and a dead letter."""
    receipt = await asker.publish("batch", body)
    job = f"{receipt.stream}-{receipt.sequence}"
    lines = await asker.lines(job)
    letter = await asker.dead_letter(job)
    assert {line.error.code for line in lines if line.error} == {letter.code}
    assert all(line.error for line in lines)
    return lines


async def test_slices_of_one_file_are_answered_line_by_line(
    asker: Asker, store: BlobStore, unique: str
) -> None:
    data = file_of(unique)
    uri = await stored(store, unique, data)
    for first, count in [(0, 5), (5, 5), (10, 2)]:
        lines = await asker.ask("batch", pointing(uri, data, first, count))
        assert [line.custom_id for line in lines] == [
            f"row-{n}" for n in range(first, first + count)
        ]
        assert [text_of(line) for line in lines] == [
            answer_to(f"{unique} {n}") for n in range(first, first + count)
        ]


@pytest.mark.parametrize("tier", ["realtime", "background"])
async def test_other_tiers_take_inputs_too(asker: Asker, unique: str, tier: str) -> None:
    data = file_of(unique)
    uri = await stored(Objects(asker.connection), unique, data)
    (line,) = await asker.ask(tier, pointing(uri, data, 3))
    assert text_of(line) == answer_to(f"{unique} 3")


async def test_a_missing_file_ends_every_item_with_the_reason(
    asker: Asker, store: BlobStore, unique: str
) -> None:
    data = file_of(unique)
    lines = await refusal(asker, pointing(store.uri(blob_key(unique, "no")), data, 0, 3))
    assert len(lines) == 3
    assert lines[0].error is not None
    assert "store it again" in lines[0].error.message


async def test_a_file_with_other_bytes_is_refused(
    asker: Asker, store: BlobStore, unique: str
) -> None:
    uri = await stored(store, unique, file_of(unique))
    lines = await refusal(asker, pointing(uri, b"other"))
    assert lines[0].error is not None
    assert "sha256" in lines[0].error.message


async def test_a_file_over_the_limit_is_refused(
    asker: Asker, store: BlobStore, unique: str
) -> None:
    data = file_of(unique) + b" " * 1024 * 1024
    uri = await stored(store, unique, data)
    lines = await refusal(asker, pointing(uri, data))
    assert lines[0].error is not None
    assert "over the limit" in lines[0].error.message


async def test_lines_behind_the_end_are_refused(
    asker: Asker, store: BlobStore, unique: str
) -> None:
    data = file_of(unique)
    uri = await stored(store, unique, data)
    lines = await refusal(asker, pointing(uri, data, ROWS - 1, 2))
    assert lines[0].error is not None
    assert f"has {ROWS} lines" in lines[0].error.message


async def test_nobody_reads_what_is_another_tenants(
    asker: Asker, s3_server: Seaweed, store: BlobStore, unique: str
) -> None:
    data = file_of(unique)
    theirs = f"{unique}v"
    uri = await stored(store, theirs, data)
    await refusal(asker, pointing(uri, data))
    # Beside the prefix, and in a folder of the victim that is called like oneself.
    for beside in (f"s3://{BUCKET}/{unique}/a", f"s3://{BUCKET}/inputs/{theirs}/{unique}/a",
                   f"s3://other-bucket/inputs/{unique}/a"):  # fmt: skip
        await refusal(asker, pointing(beside, data))


async def test_an_outage_of_the_store_is_waited_out_and_counts_nothing(
    s3_server: Seaweed, unique: str, tmp_path: Path
) -> None:
    data = file_of(unique)
    async with line_to(s3_server.endpoint) as line:
        line.usual = 503
        with running_fleet(tmp_path, "--spot", "1", env=s3_env(line.endpoint)) as fleet:
            async with connected(fleet.nats) as connection:
                asker = Asker(connection, unique)
                uri = await stored(s3_at(s3_server.endpoint), unique, data)
                receipt = await asker.publish("batch", pointing(uri, data, 0, 2))
                # Others are served meanwhile, by the same consumer.
                (other,) = await asker.ask("batch", chat("meanwhile"))
                assert text_of(other) == answer_to("meanwhile")
                assert await asker.raw_lines(f"{receipt.stream}-{receipt.sequence}") == []
                line.usual = "pass"
                lines = await asker.lines(f"{receipt.stream}-{receipt.sequence}")
    assert [text_of(each) for each in lines] == [answer_to(f"{unique} {n}") for n in range(2)]
    assert {each.fleet.attempts for each in lines} == {0}
    assert set(line.requests) == {"GET"}


async def test_a_job_whose_store_stays_silent_ends_at_its_deadline(
    s3_server: Seaweed, unique: str, tmp_path: Path
) -> None:
    async with line_to(s3_server.endpoint) as line:
        line.usual = 503
        with running_fleet(tmp_path, "--spot", "1", env=s3_env(line.endpoint)) as fleet:
            async with connected(fleet.nats) as connection:
                asker = Asker(connection, unique)
                uri = f"s3://{BUCKET}/inputs/{unique}/a"
                headers = {"Fleet-Deadline": "2020-01-01T00:00:00Z"}
                lines = await asker.ask("batch", pointing(uri, b"", 0, 3), headers=headers)
    assert [each.error.code for each in lines if each.error] == ["expired"] * 3


async def test_a_killed_consumers_input_is_read_again_and_gone_on_with(
    unique: str, tmp_path: Path
) -> None:
    data = b"".join(
        json.dumps({"custom_id": f"row-{n}", **chat(f"{unique} {n}", 60)}).encode() + b"\n"
        for n in range(6)
    )
    with running_fleet(tmp_path, "--spot", "2", "--token-rate", "20") as fleet:
        async with connected(fleet.nats) as connection:
            asker, claims = Asker(connection, unique), Claims(connection)
            uri = await stored(Objects(connection), unique, data)
            receipt = await asker.publish("batch", pointing(uri, data, 2, 4))
            job = f"{receipt.stream}-{receipt.sequence}"

            async def owner() -> str | None:
                held = await claims.get(unique, job)
                if held is None or held.claim is None:
                    return None
                begun = [saved for saved in held.claim.saved if saved.done_ids]
                return held.claim.owner if len(begun) == 4 else None

            fleet.send(await eventually(owner, "a checkpoint of all four"), signal.SIGKILL)
            lines = await asker.lines(job)
    assert [line.custom_id for line in lines] == [f"row-{n}" for n in range(2, 6)]
    assert [text_of(line) for line in lines] == [
        answer_to(f"{unique} {n}", 60) for n in range(2, 6)
    ]
    assert {line.fleet.resumed for line in lines} == {"exact"}
