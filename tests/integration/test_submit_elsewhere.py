"""Files and requests too large for the queue, from the command line to the answer."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.broker.connection import Connection
from fleet.broker.provision import provision
from fleet.job import MAX_JOB_BYTES
from tests.asking import answer_to, chat
from tests.contract.s3_line import line_to
from tests.fleets import RunningFleet, running_fleet
from tests.integration.batch_kit import queued, read
from tests.integration.cli import fleet as run
from tests.integration.test_inputs import s3_env
from tests.seaweed import Seaweed

pytestmark = pytest.mark.usefixtures("credentials")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, s3_server: Seaweed) -> Iterator[RunningFleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with running_fleet(folder, "--spot", "1", env=s3_env(s3_server.endpoint)) as running:
        yield running


@pytest.fixture
def s3(s3_server: Seaweed, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3_env(s3_server.endpoint).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def file(tmp_path: Path, unique: str) -> Path:
    path = tmp_path / "in.jsonl"
    rows = ({"custom_id": f"row-{n}", **chat(f"{unique} {n}")} for n in range(20))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("via", ["objects", "s3"])
async def test_an_uploaded_file_is_answered_like_any_other(
    fleet: RunningFleet, unique: str, file: Path, tmp_path: Path, via: str
) -> None:
    submit = ("batch", "submit", str(file), "--model", "smollm2", "--tenant", unique,
              "--via", via, "--chunk", "6")  # fmt: skip
    sent = await run(fleet.nats, *submit, "--wait")
    assert sent.code == 0, sent.err
    again = await run(fleet.nats, *submit)
    assert again.code == 0, again.err
    batch = again.out.strip()
    done = await run(fleet.nats, "batch", "results", batch, "--tenant", unique, cwd=tmp_path)
    assert done.code == 0, done.err
    lines = read(tmp_path / f"{batch}_output.jsonl")
    assert [line["custom_id"] for line in lines] == [f"row-{n}" for n in range(20)]
    texts = [line["response"]["body"]["choices"][0]["message"]["content"] for line in lines]
    assert texts == [answer_to(f"{unique} {n}") for n in range(20)]


async def test_a_job_too_large_for_a_message_is_answered(
    fleet: RunningFleet, unique: str, tmp_path: Path
) -> None:
    prompts = [f"{n}" * 60_000 for n in range(10)]
    path = tmp_path / "job.json"
    requests = [{"custom_id": prompt[0], **chat(prompt, 2)} for prompt in prompts]
    path.write_text(json.dumps({"requests": requests}, indent=2))
    assert path.stat().st_size > MAX_JOB_BYTES
    args = ("submit", "--model", "smollm2", "--tenant", unique, "--file", str(path), "--json")
    ran = await run(fleet.nats, *args)
    assert ran.code == 0, ran.err
    lines = [json.loads(line) for line in ran.out.splitlines()]
    texts = [line["response"]["body"]["choices"][0]["message"]["content"] for line in lines]
    assert texts == [answer_to(prompt, 2) for prompt in prompts]


@pytest.fixture
async def model(provisioned: Connection, unique: str) -> str:
    """A model that nobody serves, so that its jobs stay in the queue."""
    await provision(provisioned, [unique])
    return unique


async def test_an_upload_that_fails_leaves_nothing_in_the_queue_and_goes_on_later(
    provisioned: Connection,
    s3_server: Seaweed,
    model: str,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nats_url = provisioned.address
    args = ("batch", "submit", str(file), "--model", model, "--tenant", model, "--via", "s3")
    async with line_to(s3_server.endpoint) as line:
        for name, value in s3_env(line.endpoint).items():
            monkeypatch.setenv(name, value)
        line.usual = 403
        refused = await run(nats_url, *args)
        assert (refused.code, refused.out) == (6, "")
        assert "credentials" in refused.err
        line.usual = 503
        assert (await run(nats_url, *args)).code == 5
        assert await queued(provisioned, model) == 0
        line.usual = "pass"
        line.fates = ["pass", "unheard"]
        sent = await run(nats_url, *args)
        assert sent.code == 0, sent.err
    assert await queued(provisioned, model) == 1


async def test_s3_without_its_settings_says_what_to_set(
    nats_url: str, model: str, file: Path
) -> None:
    args = ("batch", "submit", str(file), "--model", model, "--tenant", model, "--via", "s3")
    ran = await run(nats_url, *args)
    assert ran.code == 2
    assert "FLEET_S3_BUCKET" in ran.err
