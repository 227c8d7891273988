"""`fleet batch` as a process: data on stdout, all else on stderr, and exit codes that mean it."""

import json
import signal
import time
from pathlib import Path

import pytest

from fleet.broker.connection import Connection
from fleet.broker.provision import provision
from tests.integration.answering import answering
from tests.integration.batch_kit import content, names, queued, read
from tests.integration.cli import end, fleet, start


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "in.jsonl"
    path.write_bytes(content(10))
    return str(path)


def who(unique: str) -> tuple[str, ...]:
    return ("--tenant", unique)


async def test_a_file_goes_in_and_two_files_come_out(
    provisioned: Connection, nats_url: str, unique: str, file: str, tmp_path: Path
) -> None:
    async with answering(provisioned, unique):
        sent = await fleet(nats_url, "batch", "submit", file, "--model", unique, *who(unique))
        assert sent.code == 0, sent.err
        batch = sent.out.strip()
        assert sent.out == f"{batch}\n"

        watched = await fleet(nats_url, "batch", "watch", batch, *who(unique), "--json")
        assert watched.code == 0, watched.err
        assert json.loads(watched.out)["status"] == "completed"
        assert f"{batch}: " in watched.err

    done = await fleet(nats_url, "batch", "results", batch, *who(unique), cwd=tmp_path)
    assert done.code == 0, done.err
    assert done.out.split() == [f"{batch}_output.jsonl", f"{batch}_errors.jsonl"]
    assert names(tmp_path) == sorted(["in.jsonl", *done.out.split()])
    assert [line["custom_id"] for line in read(tmp_path / done.out.split()[0])] == [
        f"row-{n}" for n in range(10)
    ]


async def test_all_bad_lines_are_reported_at_once_and_nothing_is_sent(
    provisioned: Connection, nats_url: str, unique: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content(2) + b"\noops\n" + content(1))
    args = ("batch", "submit", str(path), "--model", unique, *who(unique))
    ran = await fleet(nats_url, *args)
    assert (ran.code, ran.out) == (2, "")
    assert f"{path}:3: invalid_json: " in ran.err
    assert f"{path}:4: duplicate_custom_id: custom_id 'row-0' stands on line 1 too" in ran.err
    assert "2 bad lines; nothing was submitted" in ran.err

    errors = json.loads((await fleet(nats_url, *args, "--json")).out)["errors"]["data"]
    assert [(each["line"], each["code"]) for each in errors] == [
        (3, "invalid_json"),
        (4, "duplicate_custom_id"),
    ]
    assert await queued(provisioned, unique) == 0


async def test_the_same_command_again_does_nothing(
    provisioned: Connection, nats_url: str, unique: str, file: str
) -> None:
    await provision(provisioned, [unique])
    args = ("batch", "submit", file, "--model", unique, "--chunk", "3", *who(unique))
    first, second = [await fleet(nats_url, *args) for _ in range(2)]
    assert (first.code, second.code) == (0, 0)
    assert first.out == second.out
    assert await queued(provisioned, unique) == 4


async def test_a_name_that_is_taken_is_a_usage_error(
    provisioned: Connection, nats_url: str, unique: str, file: str, tmp_path: Path
) -> None:
    await provision(provisioned, [unique])
    args = ("--model", unique, "--batch", "mine", *who(unique))
    assert (await fleet(nats_url, "batch", "submit", file, *args)).out == "mine\n"
    other = tmp_path / "other.jsonl"
    other.write_bytes(content(11))
    ran = await fleet(nats_url, "batch", "submit", str(other), *args)
    assert (ran.code, ran.out) == (2, "")
    assert "choose another name" in ran.err


async def test_failed_items_give_exit_code_three(
    provisioned: Connection, nats_url: str, unique: str, tmp_path: Path
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(content(4, failing=[1]))
    async with answering(provisioned, unique):
        ran = await fleet(
            nats_url, "batch", "submit", str(path), "--model", unique, "--wait", "--json",
            *who(unique),
        )  # fmt: skip
    assert ran.code == 3, ran.err
    status = json.loads(ran.out)
    assert status["request_counts"] == {"total": 4, "completed": 3, "failed": 1}
    done = await fleet(
        nats_url, "batch", "results", status["id"], "--dir", str(tmp_path), "--json", *who(unique)
    )
    assert done.code == 3
    assert json.loads(done.out)["missing"] == 0


async def test_a_part_of_the_results_says_so_and_gives_exit_code_three(
    provisioned: Connection, nats_url: str, unique: str, file: str, tmp_path: Path
) -> None:
    await provision(provisioned, [unique])
    sent = await fleet(nats_url, "batch", "submit", file, "--model", unique, *who(unique))
    ran = await fleet(
        nats_url, "batch", "results", sent.out.strip(), "--dir", str(tmp_path), *who(unique)
    )
    assert ran.code == 3
    assert "10 of 10 requests are not done yet" in ran.err


async def test_status_cancel_and_ls_tell_the_same_story(
    provisioned: Connection, nats_url: str, unique: str, file: str
) -> None:
    await provision(provisioned, [unique])
    args = ("--model", unique, "--batch", "story", "--window", "24h", *who(unique))
    await fleet(nats_url, "batch", "submit", file, *args)
    status = json.loads(
        (await fleet(nats_url, "batch", "status", "story", "--json", *who(unique))).out
    )
    assert (status["object"], status["status"]) == ("batch", "in_progress")
    assert status["completion_window"] == "24h"
    assert status["expires_at"] == pytest.approx(time.time() + 86_400, abs=120)

    for _ in range(2):
        cancelled = await fleet(nats_url, "batch", "cancel", "story", *who(unique))
        assert cancelled.code == 0
        assert cancelled.out.startswith("story: cancelling\n")
    listed = await fleet(nats_url, "batch", "ls", "--json", *who(unique))
    assert [json.loads(line)["state"] for line in listed.out.splitlines()] == ["cancelling"]
    table = await fleet(nats_url, "batch", "ls", *who(unique))
    assert [line.split()[0] for line in table.out.splitlines()] == ["BATCH", "story"]


@pytest.mark.parametrize("verb", ["status", "watch", "results", "cancel"])
async def test_a_batch_that_is_not_there_gives_exit_code_four(
    provisioned: Connection, nats_url: str, unique: str, verb: str
) -> None:
    ran = await fleet(nats_url, "batch", verb, "nothing", *who(unique))
    assert (ran.code, ran.out) == (4, "")
    assert "no batch 'nothing'" in ran.err


async def test_a_model_that_nobody_serves_gives_exit_code_four(
    provisioned: Connection, nats_url: str, unique: str, file: str
) -> None:
    ran = await fleet(nats_url, "batch", "submit", file, "--model", unique, *who(unique))
    assert (ran.code, ran.out) == (4, "")
    assert "is not served here" in ran.err


async def test_no_broker_is_waited_for_aloud_and_gives_exit_code_five(file: str) -> None:
    ran = await fleet("nats://127.0.0.1:9", "batch", "submit", file, "--model", "m")
    assert (ran.code, ran.out) == (5, "")
    waiting, ended = ran.err.splitlines()
    assert waiting == "no NATS server answers at nats://127.0.0.1:9 yet, still trying"
    assert ended == (
        "fleet: no NATS server answers at nats://127.0.0.1:9 (Connection refused): start one with "
        "`fleet up`, or correct the address; it comes from --nats or FLEET_NATS"
    )


@pytest.mark.parametrize(
    "args",
    [
        ("submit", "no-such-file.jsonl"),
        ("submit", "/dev/null"),
        ("status", "../../x"),
        ("status", "*"),
        ("results", "x" * 65),
    ],
)
async def test_what_cannot_be_right_gives_exit_code_two(
    provisioned: Connection, nats_url: str, args: tuple[str, ...]
) -> None:
    ran = await fleet(nats_url, "batch", *args)
    assert (ran.code, ran.out) == (2, "")


async def test_interrupting_a_watch_gives_exit_code_130(
    provisioned: Connection, nats_url: str, unique: str, file: str
) -> None:
    await provision(provisioned, [unique])
    sent = await fleet(nats_url, "batch", "submit", file, "--model", unique, *who(unique))
    process = await start(nats_url, "batch", "watch", sent.out.strip(), *who(unique))
    assert process.stderr is not None
    assert await process.stderr.readline()
    process.send_signal(signal.SIGINT)
    ran = await end(process)
    assert (ran.code, ran.out) == (130, "")
    assert "Traceback" not in ran.err
