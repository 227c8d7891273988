"""No stored job stays without an end, even where no consumer lives."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from fleet.broker.connection import Connection
from fleet.broker.provision import provision
from fleet.broker.queue import Puller
from fleet.cancel import cancel
from fleet.sweep import Sweeper, Swept
from tests.asking import Asker, chat, chunk, eventually
from tests.integration import cli
from tests.integration.brokers import connected


@pytest.fixture
async def connection(own_url: str, unique: str) -> AsyncIterator[Connection]:
    """Queues of this test's own model, with an ack wait of half a second."""
    async with connected(own_url) as connection:
        await provision(connection, [unique], ack_wait_s=0.5)
        yield connection


@pytest.fixture
def asker(connection: Connection, unique: str) -> Asker:
    return Asker(connection, unique)


@pytest.fixture
def sweeper(connection: Connection) -> Sweeper:
    return Sweeper(connection, realtime_deadline_s=1.0, checkpoint_s=0.2)


async def publish(asker: Asker, tier: str, body: object, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return (await asker.publish(tier, body, headers=named, model=asker.tenant)).sequence


async def until(sweeper: Sweeper, code: str, *, bound_s: float = 30.0) -> Swept:
    """Sweep until something with this code was done."""

    async def look() -> Swept | None:
        return next((one for one in await sweeper.sweep() if one.code == code), None)

    return await eventually(look, code, bound_s=bound_s)


async def stored(connection: Connection, tier: str, unique: str) -> int:
    """Count what is queued for this test's model."""
    filters = {"subjects_filter": f"jobs.{tier}.{unique}.*"}
    info = await connection.api(f"STREAM.INFO.JOBS_{tier.upper()}", filters)
    return sum((info["state"].get("subjects") or {}).values())


def puller(connection: Connection, tier: str, model: str) -> Puller:
    return Puller(connection, stream=f"JOBS_{tier.upper()}", durable=f"{tier}_{model}")


async def edit_durable(connection: Connection, tier: str, model: str, **changes: object) -> None:
    stream, name = f"JOBS_{tier.upper()}", f"{tier}_{model}"
    config = (await connection.api(f"CONSUMER.INFO.{stream}.{name}"))["config"] | changes
    await connection.api(
        f"CONSUMER.CREATE.{stream}.{name}.{config['filter_subject']}",
        {"stream_name": stream, "action": "update", "config": config},
    )


async def test_a_realtime_job_that_nobody_takes_expires_within_seconds_of_its_deadline(
    asker: Asker, sweeper: Sweeper, connection: Connection, unique: str
) -> None:
    began = time.monotonic()
    await publish(asker, "realtime", chunk([chat("a"), chat("b")]), Fleet_Job_Id="j")
    await until(sweeper, "expired")
    lines = await asker.lines("j")
    assert 1.0 <= time.monotonic() - began < 5
    assert [line.error and line.error.code for line in lines] == ["expired"] * 2
    assert [line.fleet.capacity_type for line in lines] == [None, None]
    assert await stored(connection, "realtime", unique) == 0


async def test_a_batch_job_whose_deadline_passes_in_the_queue_expires_and_others_wait(
    asker: Asker, sweeper: Sweeper, connection: Connection, unique: str
) -> None:
    soon = datetime.fromtimestamp(time.time() + 1, UTC).isoformat()
    await publish(asker, "batch", chat("late"), Fleet_Job_Id="late", Fleet_Deadline=soon)
    await publish(asker, "batch", chat("patient"), Fleet_Job_Id="patient")
    await until(sweeper, "expired")
    (line,) = await asker.lines("late")
    assert line.error is not None
    assert line.error.code == "expired"
    assert await asker.raw_lines("patient") == []
    assert await stored(connection, "batch", unique) == 1


async def test_two_sweeps_at_once_give_each_item_one_line(
    asker: Asker, sweeper: Sweeper, connection: Connection
) -> None:
    for number in range(10):
        await publish(asker, "realtime", chat("x"), Fleet_Job_Id=f"j{number}")
    other = Sweeper(connection, realtime_deadline_s=1.0)
    async with asyncio.TaskGroup() as group:
        for one in (sweeper, other):
            group.create_task(sweep_for(one, 4.0))
    for number in range(10):
        assert len(await asker.raw_lines(f"j{number}")) == 1


async def sweep_for(sweeper: Sweeper, seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        await sweeper.sweep()


async def test_a_queued_job_that_is_cancelled_ends_without_a_consumer(
    asker: Asker, sweeper: Sweeper, connection: Connection, unique: str
) -> None:
    await publish(asker, "batch", chat("x"), Fleet_Job_Id="j")
    assert (await cancel(connection, tenant=unique, job="j")).state == "queued"
    await until(sweeper, "cancelled")
    (line,) = await asker.lines("j")
    assert line.error is not None
    assert line.error.code == "cancelled"
    assert (await cancel(connection, tenant=unique, job="j")).state == "cancelled"
    assert await stored(connection, "batch", unique) == 0


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
