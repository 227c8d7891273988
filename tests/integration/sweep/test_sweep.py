"""No job stays without an end, even where no consumer lives: it expires, or is cancelled."""

import asyncio
import io
import json
import time
from datetime import UTC, datetime

import pytest

from fleet.batch_file import bodies, survey
from fleet.batches import Batches, draft
from fleet.broker.connection import Connection
from fleet.cancel import cancel
from fleet.errors import BrokerUnreachable
from fleet.sweep import Sweeper
from tests.asking import Asker, chat, chunk, eventually
from tests.integration.sweep.sweeping import (
    leave_one_unanswered,
    publish,
    stored,
    sweep_for,
    until,
)


async def test_a_realtime_job_that_nobody_takes_expires_within_seconds_of_its_deadline(
    asker: Asker, sweeper: Sweeper, connection: Connection, unique: str
) -> None:
    began = time.monotonic()
    await publish(asker, "realtime", chunk([chat("a"), chat("b")]), Fleet_Job_Id="j")
    await until(sweeper, "expired")
    # Not before; how long after it is the machine's.
    assert time.monotonic() - began >= 0.9
    lines = await asker.lines("j")
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
    asker: Asker, sweeper: Sweeper, connection: Connection, unique: str
) -> None:
    for number in range(10):
        await publish(asker, "realtime", chat("x"), Fleet_Job_Id=f"j{number}")
    other = Sweeper(connection, realtime_deadline_s=1.0)

    async def all_ended() -> bool:
        return await stored(connection, "realtime", unique) == 0

    async def sweep_until_all_ended(one: Sweeper) -> None:
        while not await all_ended():
            await one.sweep()
        await one.sweep()

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for one in (sweeper, other):
            group.create_task(sweep_until_all_ended(one))
    for number in range(10):
        assert len(await asker.raw_lines(f"j{number}")) == 1


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


async def test_a_batch_that_is_cancelled_while_no_consumer_lives_ends_and_says_so(
    connection: Connection, sweeper: Sweeper, unique: str
) -> None:
    batches = Batches(connection, tenant=unique)
    lines = [
        json.dumps({"custom_id": f"r{n}", "method": "POST", **chat(f"p{n}")}) for n in range(5)
    ]
    file = io.BytesIO("\n".join(lines).encode())
    found = survey(file, model=unique, chunk=2)
    plan = draft(found, tenant=unique, model=unique, input_name="f", now=time.time())
    file.seek(0)
    await batches.submit(plan, bodies(file, found))
    assert (await batches.cancel(plan.id)).status == "cancelling"

    async def over() -> bool:
        await sweeper.sweep()
        return (await batches.manifest(plan.id)).state == "cancelled"

    await eventually(over, "the end of the batch")
    status = await batches.status(plan.id)
    assert (status.status, status.request_counts.failed) == ("cancelled", 5)
    assert await stored(connection, "batch", unique) == 0


async def test_a_mark_that_names_what_is_not_its_job_removes_nothing(
    asker: Asker, connection: Connection, sweeper: Sweeper, unique: str
) -> None:
    sequence = await publish(asker, "batch", chat("x"), Fleet_Job_Id="j")
    for stream in ("JOBS_BATCH", "RESULTS", "../x"):
        mark = json.dumps({"stream": stream, "sequence": sequence, "at": 0.0}).encode()
        await connection.append(f"$KV.cancels.other.{unique}", mark)
        await sweep_for(sweeper, 3.0)
    assert await stored(connection, "batch", unique) == 1
    assert await asker.raw_lines("j") == []


@pytest.mark.parametrize("sequence", [0, -1, 2**64, 2**70])
async def test_a_mark_of_a_place_that_no_stream_has_stops_no_sweep(
    asker: Asker, connection: Connection, sweeper: Sweeper, unique: str, sequence: int
) -> None:
    mark = json.dumps({"stream": "JOBS_BATCH", "sequence": sequence, "at": 0.0}).encode()
    await connection.append(f"$KV.cancels.{unique}.j", mark)
    await publish(asker, "realtime", chat("x"), Fleet_Job_Id="mine")
    await until(sweeper, "expired")


async def test_what_expires_while_the_broker_does_not_answer_expires_later(
    asker: Asker, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_one_unanswered(monkeypatch)
    monkeypatch.setattr("fleet.sweep.AGAIN_S", 0.5)
    for number in range(3):
        await publish(asker, "realtime", chat("x"), Fleet_Job_Id=f"j{number}")
    with pytest.raises(BrokerUnreachable):
        await until(sweeper, "expired")

    async def over() -> bool:
        await sweeper.sweep()
        return all([await asker.raw_lines(f"j{number}") for number in range(3)])

    await eventually(over, "the end of all three")
