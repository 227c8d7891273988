"""Jobs that their durable gave up or forgot are found, and end or go on."""

import asyncio
import json
import time
from datetime import UTC, datetime

import pytest

from fleet.broker.connection import Connection
from fleet.broker.provision import provision
from fleet.errors import BrokerUnreachable
from fleet.sweep import Sweeper
from tests.asking import Asker, chat, chunk, eventually
from tests.integration import cli
from tests.integration.sweep.sweeping import (
    edit_durable,
    leave_one_unanswered,
    publish,
    puller,
    stored,
    sweep_for,
    until,
)


async def test_a_job_that_reached_a_cap_of_deliveries_becomes_a_dead_letter_with_a_result(
    asker: Asker, sweeper: Sweeper, connection: Connection, unique: str
) -> None:
    await edit_durable(connection, "batch", unique, max_deliver=1)
    sequence = await publish(asker, "batch", chunk([chat("a"), chat("b")]), Fleet_Job_Id="j")
    async with puller(connection, "batch", unique) as pulling:
        await pulling.ask(1)
        async with asyncio.timeout(10):
            assert (await pulling.next()) is not None
        await pulling.ask(1)  # only a pull makes the server notice
        swept = await until(sweeper, "deliveries_exhausted")
    assert "max_deliver" in swept.message
    lines = await asker.lines("j")
    assert [line.error and line.error.code for line in lines] == ["deliveries_exhausted"] * 2
    letter = await asker.dead_letter("j")
    assert (letter.code, letter.stream_sequence) == ("deliveries_exhausted", str(sequence))
    assert await stored(connection, "batch", unique) == 0


async def test_a_job_that_its_durable_forgot_is_put_back_and_delivered(
    asker: Asker, sweeper: Sweeper, connection: Connection, unique: str
) -> None:
    await edit_durable(connection, "batch", unique, max_deliver=1)
    sequence = await publish(asker, "batch", chat("x"), Nats_Msg_Id="mine")
    async with puller(connection, "batch", unique) as pulling:
        await pulling.ask(1)
        async with asyncio.timeout(10):
            assert (await pulling.next()) is not None
        await pulling.ask(1)
        await forget_advisory(connection, unique)
        await until(sweeper, "put_back")
        async with asyncio.timeout(10):
            again = await pulling.next()
            while again is None:
                await pulling.ask(1)
                again = await pulling.next()
        await again.ack()
    assert again.sequence > sequence
    assert again.headers["Fleet-Job-Id"] == "mine"
    assert again.number == 1


async def test_doctor_and_sweep_say_how_many_are_stuck_and_the_sweep_puts_them_back(
    asker: Asker, connection: Connection, own_url: str, unique: str
) -> None:
    await edit_durable(connection, "batch", unique, max_deliver=1)
    for number in range(2):
        await publish(asker, "batch", chat("x"), Fleet_Job_Id=f"j{number}")
    async with puller(connection, "batch", unique) as pulling:
        await pulling.ask(2)
        async with asyncio.timeout(10):
            assert [await pulling.next() for _ in range(2)]
        await pulling.ask(1)
        await forget_advisory(connection, unique)
        await eventually(lambda: told(own_url, unique, "stuck 2"), "two stuck jobs")
    await edit_durable(connection, "batch", unique, max_deliver=-1)
    ran = await cli.fleet(own_url, "sweep", "--json")
    put_back = [json.loads(line) for line in ran.out.splitlines()]
    assert {one["job"] for one in put_back if one["code"] == "put_back"} >= {"j0", "j1"}
    assert await told(own_url, unique, "as it should be")


async def told(url: str, model: str, what: str) -> bool:
    """Whether `fleet doctor` says something of a model."""
    ran = await cli.fleet(url, "doctor", "--json", "--model", model, "--ack-wait", "0.5")
    return any(what in check["detail"] for check in json.loads(ran.out)["checks"])


async def test_doctor_says_which_queue_is_missing_or_paused_and_how_many_jobs_wait(
    asker: Asker, connection: Connection, own_url: str, unique: str
) -> None:
    await publish(asker, "batch", chat("x"), Fleet_Job_Id="j")
    until_ = datetime.fromtimestamp(time.time() + 3600, UTC).isoformat()
    await connection.api(f"CONSUMER.PAUSE.JOBS_BATCH.batch_{unique}", {"pause_until": until_})
    assert await told(own_url, unique, "s more, 1 jobs wait")
    await connection.api(f"CONSUMER.DELETE.JOBS_BATCH.batch_{unique}")
    assert await told(own_url, unique, "missing, and 1 jobs wait for it")


async def forget_advisory(connection: Connection, model: str) -> None:
    """Wait for the advisory and remove it, as if the stream ADVISORIES had not been there."""

    async def look() -> bool:
        subject = f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.JOBS_BATCH.batch_{model}"
        info = await connection.api("STREAM.INFO.ADVISORIES", {"subjects_filter": subject})
        return bool(info["state"].get("subjects"))

    await eventually(look, "the advisory")
    await connection.api("STREAM.PURGE.ADVISORIES")


async def test_a_job_in_good_hands_is_not_taken_for_a_stuck_one(
    asker: Asker, sweeper: Sweeper, connection: Connection, unique: str
) -> None:
    await publish(asker, "batch", chat("x"), Fleet_Job_Id="j")
    async with puller(connection, "batch", unique) as pulling:
        await pulling.ask(1)
        async with asyncio.timeout(10):
            delivery = await pulling.next()
        assert delivery is not None
        for _ in range(8):
            await delivery.extend()
            assert not [one for one in await sweeper.sweep() if one.job == "j"]
            await asyncio.sleep(0.3)
        await delivery.ack()
    assert await stored(connection, "batch", unique) == 0


async def test_a_durable_that_was_deleted_leaves_its_jobs_until_it_is_made_again(
    asker: Asker, sweeper: Sweeper, connection: Connection, unique: str
) -> None:
    await publish(asker, "batch", chat("x"), Fleet_Job_Id="j")
    await connection.api(f"CONSUMER.DELETE.JOBS_BATCH.batch_{unique}")
    await sweep_for(sweeper, 4.0)
    (state,) = [one for one in sweeper.durables if one.name == f"batch_{unique}"]
    assert (state.exists, state.stored) == (False, 1)
    await provision(connection, [unique], ack_wait_s=0.5)
    async with puller(connection, "batch", unique) as pulling:
        await pulling.ask(1)
        async with asyncio.timeout(10):
            assert (await pulling.next()) is not None


async def test_a_stuck_job_that_is_no_job_becomes_a_dead_letter(
    asker: Asker, connection: Connection, sweeper: Sweeper, unique: str
) -> None:
    await edit_durable(connection, "batch", unique, max_deliver=1)
    body = b"x" * (connection.max_payload - 200)
    await asker.publish("batch", body, headers={"Nats-Msg-Id": "j"}, model=unique)
    async with puller(connection, "batch", unique) as pulling:
        await pulling.ask(1)
        async with asyncio.timeout(10):
            assert (await pulling.next()) is not None
        await pulling.ask(1)
        await until(sweeper, "deliveries_exhausted")
    assert (await asker.dead_letter("j")).code == "too_large"


async def test_a_given_up_job_is_not_forgotten_when_the_broker_does_not_answer(
    asker: Asker, sweeper: Sweeper, connection: Connection, unique: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    leave_one_unanswered(monkeypatch)
    await edit_durable(connection, "batch", unique, max_deliver=1)
    await publish(asker, "batch", chat("a"), Fleet_Job_Id="j")
    async with puller(connection, "batch", unique) as pulling:
        await pulling.ask(1)
        async with asyncio.timeout(10):
            assert (await pulling.next()) is not None
        await pulling.ask(1)
        with pytest.raises(BrokerUnreachable):
            await until(sweeper, "deliveries_exhausted")
    await until(sweeper, "deliveries_exhausted")
