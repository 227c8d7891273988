"""`fleet submit` as a process: the answer on stdout and nothing else."""

import json
from pathlib import Path

import pytest

from fleet.broker.connection import Connection
from fleet.broker.provision import provision
from fleet.job import Tier
from tests.integration.answering import FAIL, answering
from tests.integration.cli import Ran, fleet


async def ask(url: str, unique: str, *args: str, stdin: bytes = b"") -> Ran:
    return await fleet(url, "submit", *args, "--model", unique, "--tenant", unique, stdin=stdin)


@pytest.mark.parametrize("flags", [(), ("--no-stream",), ("--url", "/v1/completions")])
async def test_the_answer_is_all_there_is_on_stdout(
    provisioned: Connection, nats_url: str, unique: str, flags: tuple[str, ...]
) -> None:
    async with answering(provisioned, unique, tier=Tier.REALTIME):
        ran = await ask(nats_url, unique, "say this", *flags)
    assert (ran.code, ran.out) == (0, "say this\n"), ran.err
    assert "2 prompt and 3 output tokens" in ran.err


async def test_a_prompt_may_come_from_stdin(
    provisioned: Connection, nats_url: str, unique: str
) -> None:
    async with answering(provisioned, unique, tier=Tier.REALTIME):
        ran = await ask(nats_url, unique, "-", stdin=b"from a pipe")
    assert (ran.code, ran.out) == (0, "from a pipe\n")


async def test_a_request_may_come_from_a_file(
    provisioned: Connection, nats_url: str, unique: str, tmp_path: Path
) -> None:
    body = {"messages": [{"role": "user", "content": "from a file"}]}
    line = {"url": "/v1/chat/completions", "body": body}
    contents = {"body": body, "line": line, "job": {"requests": [line, line]}}
    wanted = {"body": 1, "line": 1, "job": 2}
    async with answering(provisioned, unique, tier=Tier.REALTIME):
        for kind, value in contents.items():
            path = tmp_path / f"{kind}.json"
            path.write_text(json.dumps(value))
            ran = await ask(nats_url, unique, "--file", str(path))
            assert (ran.code, ran.out) == (0, "from a file\n" * wanted[kind]), ran.err


async def test_an_embedding_is_printed_as_json(
    provisioned: Connection, nats_url: str, unique: str
) -> None:
    async with answering(provisioned, unique):
        ran = await ask(nats_url, unique, "abcd", "--url", "/v1/embeddings", "--tier", "batch")
    assert (ran.code, json.loads(ran.out)) == (0, [0.5, 4.0]), ran.err


async def test_json_gives_the_result_lines(
    provisioned: Connection, nats_url: str, unique: str
) -> None:
    async with answering(provisioned, unique, tier=Tier.REALTIME):
        ran = await ask(nats_url, unique, "hi", "--json", "--id", "mine")
    line = json.loads(ran.out)
    assert (line["id"], line["fleet"]["job"]) == ("mine-0", "mine")


async def test_an_error_result_gives_exit_code_one(
    provisioned: Connection, nats_url: str, unique: str
) -> None:
    async with answering(provisioned, unique, tier=Tier.REALTIME):
        ran = await ask(nats_url, unique, FAIL)
    assert (ran.code, ran.out) == (1, "")
    assert "engine_refused: as you asked" in ran.err


async def test_no_answer_in_time_gives_exit_code_five_and_a_way_on(
    provisioned: Connection, nats_url: str, unique: str
) -> None:
    await provision(provisioned, [unique])
    ran = await ask(nats_url, unique, "slow", "--id", "slow", "--timeout", "0.5")
    assert (ran.code, ran.out) == (5, "")
    assert "--id slow goes on waiting" in ran.err
    async with answering(provisioned, unique, tier=Tier.REALTIME):
        again = await ask(nats_url, unique, "slow", "--id", "slow")
    assert (again.code, again.out) == (0, "slow\n")


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("hi", "--file", "-"),
        ("hi", "--id", "a.b"),
        ("hi", "--deadline", "tomorrow"),
        ("hi", "--tier", "urgent"),
        ("hi", "--url", "/v1/embeddings", "--max-tokens", "3"),
        ("hi", "--url", "/v1/completions", "--system", "x"),
        ("--file", "-"),
    ],
)
async def test_what_cannot_be_right_gives_exit_code_two(
    provisioned: Connection, nats_url: str, unique: str, args: tuple[str, ...]
) -> None:
    await provision(provisioned, [unique])
    ran = await ask(nats_url, unique, *args, stdin=b"[]")
    assert (ran.code, ran.out) == (2, ""), ran.err
    assert "Traceback" not in ran.err


async def test_an_unknown_field_is_named(
    provisioned: Connection, nats_url: str, unique: str
) -> None:
    await provision(provisioned, [unique])
    body = b'{"messages": [{"role": "user", "content": "x"}], "temprature": 1}'
    ran = await ask(nats_url, unique, "--file", "-", stdin=body)
    assert ran.code == 2
    assert "temprature" in ran.err


async def test_a_model_that_nobody_serves_gives_exit_code_four(
    provisioned: Connection, nats_url: str, unique: str
) -> None:
    ran = await ask(nats_url, unique, "hi")
    assert (ran.code, ran.out) == (4, "")
