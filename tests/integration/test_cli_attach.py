"""`fleet submit --detach` and `fleet attach` as processes: leave a job, and come back to it."""

import asyncio
import json
import secrets

import pytest

from fleet.broker.connection import Connection
from fleet.broker.provision import provision
from fleet.broker.tokens import Teller, TokenStream
from fleet.job import Tier, TokenDelta
from fleet.producer import Producer
from tests.integration.answering import FAIL, answering
from tests.integration.cli import Ran, end, fleet, start

BOUND_S = 60.0
TEXT = "every word of it"


def chat(text: str) -> dict[str, object]:
    messages = [{"role": "user", "content": text}]
    return {"url": "/v1/chat/completions", "body": {"messages": messages}}


async def submit(
    connection: Connection, unique: str, text: str = TEXT, *, batch: str | None = None
) -> None:
    producer = Producer(connection, tenant=unique)
    await producer.submit(chat(text), model=unique, job_id="mine", batch=batch)


async def attach(url: str, unique: str, *args: str) -> Ran:
    return await fleet(url, "attach", "mine", "--tenant", unique, *args)


def teller(connection: Connection, unique: str) -> Teller:
    stream = TokenStream(connection)
    return stream.teller(unique, None, "mine", writer=secrets.token_hex(4))


def piece(text: str, begin: int, offset: int, *, finish: str | None = None) -> TokenDelta:
    return TokenDelta(
        item=0, offset=offset, text=text, text_offset=begin, token_ids=(offset,),
        finish_reason=finish,
    )  # fmt: skip


async def test_a_detached_job_is_named_and_its_answer_printed_later(
    provisioned: Connection, nats_url: str, unique: str
) -> None:
    await provision(provisioned, [unique])
    where = ("--model", unique, "--tenant", unique)
    ran = await fleet(nats_url, "submit", "say this", "--detach", *where)
    assert (ran.code, ran.out.count("\n")) == (0, 1)
    job = ran.out.strip()
    async with answering(provisioned, unique, tier=Tier.REALTIME):
        for _ in range(2):
            again = await fleet(nats_url, "attach", job, "--tenant", unique)
            assert (again.code, again.out) == (0, "say this\n"), again.err
            assert "2 prompt and 3 output tokens" in again.err


async def test_a_detached_job_as_json_is_a_ticket(
    provisioned: Connection, nats_url: str, unique: str
) -> None:
    await provision(provisioned, [unique])
    where = ("--model", unique, "--tenant", unique, "--json", "--id", "mine")
    ran = await fleet(nats_url, "submit", "say this", "--detach", *where)
    ticket = json.loads(ran.out)
    assert (ticket["job"], ticket["tier"], ticket["tenant"]) == ("mine", "realtime", unique)


@pytest.mark.parametrize("begin", [0, 6, len(TEXT)])
async def test_the_rest_from_an_offset_is_printed(
    provisioned: Connection, nats_url: str, unique: str, begin: int
) -> None:
    async with answering(provisioned, unique, tier=Tier.REALTIME):
        await submit(provisioned, unique)
        ran = await attach(nats_url, unique, "--from", str(begin))
    assert (ran.code, ran.out) == (0, TEXT[begin:] + "\n"), ran.err


async def test_an_offset_behind_the_end_is_a_usage_error(
    provisioned: Connection, nats_url: str, unique: str
) -> None:
    async with answering(provisioned, unique, tier=Tier.REALTIME):
        await submit(provisioned, unique)
        ran = await attach(nats_url, unique, "--from", "17")
    assert (ran.code, ran.out) == (2, "")
    assert "has 16 characters" in ran.err


async def test_what_was_told_is_there_at_once_and_the_rest_as_it_is_made(
    provisioned: Connection, nats_url: str, unique: str
) -> None:
    async with answering(provisioned, unique, tier=Tier.REALTIME, is_open=False) as answerer:
        await submit(provisioned, unique)
        await teller(provisioned, unique).tell(piece("every wo", 0, 0))
        process = await start(nats_url, "attach", "mine", "--tenant", unique, "--from", "6")
        assert process.stdout is not None
        async with asyncio.timeout(BOUND_S):
            assert await process.stdout.readexactly(2) == b"wo"
        answerer.gate.set()
        ran = await end(process)
    assert (ran.code, ran.out) == (0, "rd of it\n"), ran.err


async def test_an_answer_that_was_begun_again_is_said_and_printed_again(
    provisioned: Connection, nats_url: str, unique: str
) -> None:
    async with answering(provisioned, unique, tier=Tier.REALTIME, is_open=False) as answerer:
        await submit(provisioned, unique)
        await teller(provisioned, unique).tell(piece("a rumour", 0, 0))
        process = await start(nats_url, "attach", "mine", "--tenant", unique)
        assert process.stdout is not None
        async with asyncio.timeout(BOUND_S):
            assert await process.stdout.readexactly(8) == b"a rumour"
        answerer.gate.set()
        ran = await end(process)
    assert (ran.code, ran.out) == (0, f"\n{TEXT}\n"), ran.err
    assert "had to be begun again" in ran.err


async def test_json_gives_the_pieces_and_then_the_lines(
    provisioned: Connection, nats_url: str, unique: str
) -> None:
    async with answering(provisioned, unique, tier=Tier.REALTIME):
        await submit(provisioned, unique)
        ran = await attach(nats_url, unique, "--json", "--from", "6")
    *pieces, line = map(json.loads, ran.out.splitlines())
    assert "".join(each["text"] for each in pieces) == TEXT[6:]
    assert pieces[0]["text_offset"] == 6
    assert (line["id"], line["fleet"]["job"]) == ("mine-0", "mine")


async def test_a_job_of_a_batch_is_found(
    provisioned: Connection, nats_url: str, unique: str
) -> None:
    async with answering(provisioned, unique, tier=Tier.REALTIME, is_open=False) as answerer:
        await submit(provisioned, unique, batch="b1")
        process = await start(nats_url, "attach", "mine", "--tenant", unique)
        answerer.gate.set()
        waited = await end(process)
        later = await attach(nats_url, unique)
        named = await attach(nats_url, unique, "--batch", "b1")
    assert {(ran.code, ran.out) for ran in (waited, later, named)} == {(0, TEXT + "\n")}


async def test_a_job_that_failed_gives_exit_code_one(
    provisioned: Connection, nats_url: str, unique: str
) -> None:
    async with answering(provisioned, unique, tier=Tier.REALTIME):
        await submit(provisioned, unique, FAIL)
        ran = await attach(nats_url, unique)
    assert (ran.code, ran.out) == (1, "")
    assert "engine_refused: as you asked" in ran.err


async def test_a_job_that_nobody_knows_gives_exit_code_four(
    provisioned: Connection, nats_url: str, unique: str
) -> None:
    ran = await attach(nats_url, unique)
    assert (ran.code, ran.out) == (4, "")
    assert f"tenant {unique} has no job mine" in ran.err


async def test_no_answer_in_time_gives_exit_code_five_and_a_way_on(
    provisioned: Connection, nats_url: str, unique: str
) -> None:
    await provision(provisioned, [unique])
    await submit(provisioned, unique)
    ran = await attach(nats_url, unique, "--timeout", "0.5")
    assert (ran.code, ran.out) == (5, "")
    assert "attach again" in ran.err


@pytest.mark.parametrize("args", [("a.b",), ("ok", "--from", "-1"), ("ok", "--batch", "a b"), ()])
async def test_what_cannot_be_right_gives_exit_code_two(
    provisioned: Connection, nats_url: str, unique: str, args: tuple[str, ...]
) -> None:
    ran = await fleet(nats_url, "attach", *args)
    assert (ran.code, ran.out) == (2, ""), ran.err
    assert "Traceback" not in ran.err
