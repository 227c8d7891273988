"""`fleet dead`: what an operator does with jobs that were given up."""

import json
from collections.abc import AsyncIterator

import pytest

from fleet.broker.connection import Connection
from fleet.broker.dead import DeadLetter, DeadLetters
from fleet.broker.provision import provision
from fleet.broker.stored import Stored, last_message
from fleet.sweep import Sweeper
from tests.asking import Asker, chat
from tests.integration import cli
from tests.integration.brokers import connected

SECRET = "the prompt is nobody's business"
HOSTILE = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\u202e[/red][@click=app.boom]x[/]"


@pytest.fixture
async def connection(own_url: str, unique: str) -> AsyncIterator[Connection]:
    async with connected(own_url) as connection:
        await provision(connection, [unique])
        yield connection


@pytest.fixture
def asker(connection: Connection, unique: str) -> Asker:
    return Asker(connection, unique)


async def bury(
    connection: Connection,
    unique: str,
    *,
    job: str = "j",
    sequence: int = 7,
    code: str = "attempts_exhausted",
    reason: str = "it failed three times",
    headers: dict[str, str] | None = None,
    model: str | None = None,
    history: tuple[str, ...] = (),
) -> DeadLetter:
    """Bury a job of the tenant that is named as the test is."""
    dead = DeadLetters(connection)
    await dead.bury(
        subject=f"jobs.batch.{model or unique}.{unique}",
        payload=json.dumps(chat(SECRET)).encode(),
        headers=headers if headers is not None else {"Fleet-Job-Id": job},
        reason=reason,
        code=code,
        tenant=unique,
        job=job,
        stream=f"JOBS_{unique}",
        sequence=sequence,
        history=history,
    )
    return next(one for one in await dead.list(tenant=unique) if one.job == job)


async def queued(connection: Connection, unique: str) -> Stored | None:
    return await last_message(connection, "JOBS_BATCH", f"jobs.batch.{unique}.{unique}")


async def test_the_list_is_filtered_by_tenant_model_and_cause(
    own_url: str, connection: Connection, unique: str
) -> None:
    await bury(connection, unique, job="one", sequence=1)
    await bury(connection, unique, job="two", sequence=2, code="too_large", model="other")
    for flags, jobs in (
        (("--tenant", unique), ["one", "two"]),
        (("--tenant", unique, "--code", "too_large"), ["two"]),
        (("--tenant", unique, "--model", "other"), ["two"]),
        (("--tenant", "nobody"), []),
    ):
        ran = await cli.fleet(own_url, "dead", "ls", "--json", *flags)
        assert [json.loads(line)["job"] for line in ran.out.splitlines()] == jobs
        assert ran.err == f"{len(jobs)} dead letters\n"
    ran = await cli.fleet(own_url, "dead", "ls", "--tenant", unique)
    assert "attempts_exhausted" in ran.out
    assert SECRET not in ran.out


async def test_a_letter_shows_cause_headers_and_history_and_the_prompt_only_when_asked(
    own_url: str, connection: Connection, unique: str
) -> None:
    letter = await bury(
        connection, unique, headers={"Fleet-Job-Id": "j", "x-mine": "kept"},
        history=("node n1: engine died", "node n2: engine died"),
    )  # fmt: skip
    ran = await cli.fleet(own_url, "dead", "show", str(letter.sequence))
    for part in ("it failed three times", "x-mine: kept", "node n2: engine died", "sha256"):
        assert part in ran.out
    assert SECRET not in ran.out
    ran = await cli.fleet(own_url, "dead", "show", str(letter.sequence), "--show-payload")
    assert SECRET in ran.out
    ran = await cli.fleet(own_url, "dead", "show", str(letter.sequence), "--json")
    shown = json.loads(ran.out)
    assert shown["history"] == ["node n1: engine died", "node n2: engine died"]
    assert "payload" not in shown


async def test_nothing_hostile_reaches_the_terminal(
    own_url: str, connection: Connection, unique: str
) -> None:
    headers = {"Fleet-Code": HOSTILE, "Fleet-Reason": HOSTILE, "Fleet-Subject": HOSTILE,
               "Fleet-Job-Id": HOSTILE, "Fleet-Stream": HOSTILE, "Fleet-Sequence": HOSTILE,
               "Fleet-History": json.dumps([HOSTILE]),
               "Fleet-Headers": json.dumps({HOSTILE: HOSTILE})}  # fmt: skip
    receipt = await connection.append(f"dead.batch.m.{unique}", b"{}", headers=headers)
    for args in (("ls", "--tenant", unique), ("show", str(receipt.sequence))):
        ran = await cli.fleet(own_url, "dead", *args)
        assert ran.code == 0, ran.err
        assert all(char.isprintable() or char == "\n" for char in ran.out + ran.err)
    ran = await cli.fleet(own_url, "dead", "requeue", str(receipt.sequence))
    assert ran.code == 2
    assert all(char.isprintable() or char == "\n" for char in ran.out + ran.err)


async def test_a_requeued_letter_is_a_new_job_that_names_the_old_one(
    own_url: str, connection: Connection, unique: str
) -> None:
    letter = await bury(
        connection, unique,
        headers={"Fleet-Job-Id": "j", "Nats-Rollup": "all", "Fleet-Batch": "mine", "x-mine": "kept",
                 "Fleet-Deadline": "2020-01-01T00:00:00Z"},
    )  # fmt: skip
    ran = await cli.fleet(own_url, "dead", "requeue", str(letter.sequence), "--json")
    assert ran.code == 0, ran.err
    job = f"j-r{letter.sequence}"
    assert json.loads(ran.out)["job"] == job
    stored = await queued(connection, unique)
    assert stored is not None
    assert stored.headers["Fleet-Job-Id"] == job
    assert stored.headers["Fleet-Requeued-From"] == "mine.j"
    assert (stored.headers["Fleet-Batch"], stored.headers["x-mine"]) == ("mine", "kept")
    assert not {"Nats-Rollup", "Fleet-Deadline"} & stored.headers.keys()
    assert json.loads(stored.payload) == chat(SECRET)
    ran = await cli.fleet(own_url, "dead", "requeue", str(letter.sequence))
    assert (ran.code, ran.out) == (4, "")


async def test_a_job_of_a_batch_file_leaves_its_batch(
    own_url: str, connection: Connection, unique: str
) -> None:
    headers = {"Fleet-Job-Id": "b-000003", "Fleet-Batch": "b"}
    letter = await bury(connection, unique, job="b-000003", headers=headers)
    await cli.fleet(own_url, "dead", "requeue", str(letter.sequence))
    stored = await queued(connection, unique)
    assert stored is not None
    assert "Fleet-Batch" not in stored.headers
    assert stored.headers["Fleet-Requeued-From"] == "b.b-000003"


async def test_a_letter_for_a_model_that_nobody_serves_stays(
    own_url: str, connection: Connection, unique: str
) -> None:
    letter = await bury(connection, unique, model="absent")
    ran = await cli.fleet(own_url, "dead", "requeue", str(letter.sequence))
    assert ran.code == 4
    assert "fleet init --model absent" in ran.err
    assert (await DeadLetters(connection).open(letter.sequence)).job == "j"


async def test_all_that_a_filter_leaves_is_queued_again_and_needs_a_yes(
    own_url: str, connection: Connection, unique: str
) -> None:
    for number in range(3):
        await bury(connection, unique, job=f"j{number}", sequence=number)
    choice = ("--all", "--tenant", unique)
    ran = await cli.fleet(own_url, "dead", "requeue", *choice)
    assert (ran.code, ran.out) == (2, "")
    assert "--yes" in ran.err
    ran = await cli.fleet(own_url, "dead", "requeue", *choice, "--yes")
    assert (ran.code, len(ran.out.splitlines())) == (0, 3)
    assert await DeadLetters(connection).list(tenant=unique) == []


async def test_a_dropped_letter_is_gone_and_only_with_a_yes(
    own_url: str, connection: Connection, unique: str
) -> None:
    letter = await bury(connection, unique)
    ran = await cli.fleet(own_url, "dead", "drop", str(letter.sequence))
    assert ran.code == 2
    ran = await cli.fleet(own_url, "dead", "drop", str(letter.sequence), "--yes")
    assert ran.code == 0
    assert (await cli.fleet(own_url, "dead", "show", str(letter.sequence))).code == 4


async def test_a_refused_job_is_queued_again_once_its_model_is_served(
    own_url: str, connection: Connection, asker: Asker, unique: str
) -> None:
    late = f"{unique}-late"
    await asker.publish("batch", chat("x"), headers={"Fleet-Job-Id": "j"}, model=late)
    sweeper = Sweeper(connection)
    (line,) = await asker_lines(asker, sweeper)
    assert line == "unknown_model"
    letter = await asker.dead_letter("j")
    await provision(connection, [late])
    ran = await cli.fleet(own_url, "dead", "requeue", str(letter.sequence), "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["former_job"] == "j"
    assert await asker.raw_lines(f"j-r{letter.sequence}") == []


async def asker_lines(asker: Asker, sweeper: Sweeper) -> list[str]:
    """Sweep until the job `j` has its end; return the causes."""
    while not (lines := await asker.raw_lines("j")):
        await sweeper.sweep()
    return [line.error.code for line in lines if line.error is not None]
