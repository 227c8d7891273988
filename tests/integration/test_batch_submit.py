"""Submitting a batch: once, whatever happens on the way."""

import asyncio
import io
import random
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from fleet.batch_file import bodies, survey
from fleet.batches import Batches, draft
from fleet.broker.connection import Connection
from fleet.broker.kv import Bucket
from fleet.broker.provision import provision
from fleet.errors import LeaseLost, UsageError
from fleet.manifest import Manifest, job_id
from fleet.subjects import BATCHES
from tests.integration.answering import answering
from tests.integration.batch_kit import content, finished, plan_of, queued
from tests.integration.brokers import connected
from tests.integration.lossy import lose_answers

ROOT = Path(__file__).parents[2]


async def test_the_same_command_again_submits_nothing(
    provisioned: Connection, batches: Batches, unique: str
) -> None:
    await provision(provisioned, [unique])
    file = content(10)
    for _ in range(3):
        plan, work = plan_of(file, unique)
        manifest = await batches.submit(plan, work)
        assert manifest.state == "submitted"
        assert await queued(provisioned, unique) == 3


async def test_a_name_does_not_take_other_content(
    provisioned: Connection, batches: Batches, unique: str
) -> None:
    await provision(provisioned, [unique])
    await batches.submit(*plan_of(content(10), unique, batch="mine"))
    for other in (
        plan_of(content(11), unique, batch="mine"),
        plan_of(content(10), unique, batch="mine", chunk=5),
        plan_of(content(10), unique, batch="mine", completion_window_s=60.0),
    ):
        with pytest.raises(UsageError, match="other content or options"):
            await batches.submit(*other)
    assert await queued(provisioned, unique) == 3


async def test_other_options_make_another_batch(unique: str) -> None:
    file = content(10)
    plans = [
        plan_of(file, unique)[0],
        plan_of(file, unique, chunk=5)[0],
        plan_of(file, unique, completion_window_s=60.0)[0],
        plan_of(content(11), unique)[0],
    ]
    assert len({plan.id for plan in plans}) == len(plans)


async def test_a_lost_confirmation_doubles_no_answer(
    provisioned: Connection, batches: Batches, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, work = plan_of(content(10), unique)
    async with answering(provisioned, unique, is_open=False) as answerer:
        lose_answers(provisioned, monkeypatch, times=2)
        await batches.submit(plan, work)
        monkeypatch.undo()
        answerer.gate.set()
        status = await finished(batches, plan.id)
    assert status.request_counts.completed == 10
    assert status.fleet.duplicate_lines == 0


SUBMIT = """
import asyncio, io, sys
from fleet.batch_file import bodies, survey
from fleet.batches import Batches, draft
from fleet import publish
from fleet.broker.connection import connect
from fleet.broker.context import find_target

publish.GROUP_JOBS = 2
url, name, path = sys.argv[1:]

async def main():
    file = open(path, "rb")
    found = survey(file, chunk=2)
    file.seek(0)
    plan = draft(found, tenant=name, model=name, input_name="in", now=1e9, batch="cut")
    async with connect(find_target(url, {}), name="cut") as connection:
        def report(manifest):
            print(manifest.submitted_jobs, flush=True)
            sys.stdin.readline()  # no further than whoever kills it has seen
        await Batches(connection, tenant=name).submit(plan, bodies(file, found), on_progress=report)

asyncio.run(main())
"""


async def test_a_submission_that_is_killed_goes_on_where_it_stopped(
    batches: Batches, nats_url: str, unique: str, tmp_path: Path, seeded: random.Random
) -> None:
    file = tmp_path / "in.jsonl"
    file.write_bytes(content(400))
    total = 200
    kills = 0
    async with (
        connected(nats_url) as connection,
        answering(connection, unique, is_open=False) as answerer,
    ):
        for _ in range(3):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", SUBMIT, nats_url, unique, str(file),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
            )  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            for _ in range(seeded.randint(5, 25)):
                assert await process.stdout.readline()
                process.stdin.write(b"\n")
            process.kill()
            await process.communicate(b"")  # which closes its input, too
            kills += process.returncode == -signal.SIGKILL
        half = await batches.manifest("cut")
        assert 0 < half.submitted_jobs < total
        assert half.state == "submitting"

        plan, work = plan_of(content(400), unique, batch="cut", chunk=2)
        manifest = await batches.submit(plan, work)
        assert (manifest.state, manifest.submitted_jobs) == ("submitted", total)
        assert total <= await queued(connection, unique) <= total + 2 * kills
        answerer.gate.set()
        status = await finished(batches, "cut")
    assert status.request_counts.completed == 400
    assert sorted(answerer.answered) == [job_id("cut", n) for n in range(total)]
    assert status.fleet.duplicate_lines == 0


def at_publish(
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    action: Callable[[], Coroutine[None, None, object]],
) -> None:
    """Do something just before the publish `number` (from 1) of a job."""
    real = connection.append
    left = number

    async def append(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        if str(args[0]).startswith("jobs."):
            left -= 1
            if left == 0:
                await action()
        return await real(*args, **kwargs)

    monkeypatch.setattr(connection, "append", append)


async def test_of_two_submitters_the_later_one_goes_on(
    provisioned: Connection,
    batches: Batches,
    nats_url: str,
    unique: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fleet.publish.GROUP_JOBS", 1)
    file = content(12)
    async with answering(provisioned, unique, is_open=False) as answerer:
        async with connected(nats_url) as connection:
            other = Batches(connection, tenant=unique)
            at_publish(provisioned, monkeypatch, 2, lambda: other.submit(*plan_of(file, unique)))
            plan, work = plan_of(file, unique)
            with pytest.raises(LeaseLost, match="another process"):
                await batches.submit(plan, work)
        assert (await batches.manifest(plan.id)).state == "submitted"
        answerer.gate.set()
        status = await finished(batches, plan.id)
    assert (status.request_counts.completed, status.fleet.duplicate_lines) == (12, 0)


async def test_a_file_that_changes_while_it_is_submitted_stops_it(
    provisioned: Connection, batches: Batches, unique: str
) -> None:
    await provision(provisioned, [unique])
    found = survey(io.BytesIO(content(8)), chunk=4)
    plan = draft(found, tenant=unique, model=unique, input_name="in", now=1e9)
    with pytest.raises(UsageError, match="changed"):
        await batches.submit(plan, bodies(io.BytesIO(content(9)), found))
    assert await queued(provisioned, unique) == 0


async def test_a_batch_that_is_cancelled_while_it_is_submitted_stops_there(
    provisioned: Connection, batches: Batches, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet.publish.GROUP_JOBS", 1)
    plan, work = plan_of(content(12), unique)
    async with answering(provisioned, unique, is_open=False) as answerer:
        other = Batches(provisioned, tenant=unique)
        bucket = Bucket(provisioned, BATCHES, Manifest)
        at_publish(provisioned, monkeypatch, 2, lambda: other.cancel(plan.id))
        with pytest.raises(UsageError, match="cancelled while"):
            await batches.submit(plan, work)
        entry = await bucket.get(f"{unique}.{plan.id}")
        assert entry is not None
        assert (entry.value.state, entry.value.submitted_jobs) == ("cancelling", 2)
        answerer.gate.set()
        status = await finished(batches, plan.id)
    assert (status.status, status.request_counts.done) == ("cancelled", 8)
