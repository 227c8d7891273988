"""Batches against a real broker: submitted once, whatever happens, and collected in order."""

import asyncio
import json
from contextlib import ExitStack, aclosing
from pathlib import Path

import msgspec
import pytest

from fleet.batches import Batches
from fleet.broker.connection import Connection
from fleet.broker.kv import Bucket
from fleet.broker.provision import provision
from fleet.broker.results import ResultLog
from fleet.errors import NotFound, UsageError
from fleet.manifest import Manifest, job_id
from fleet.subjects import BATCHES
from tests.integration.answering import answering
from tests.integration.batch_kit import BOUND_S, content, finished, names, plan_of, read
from tests.integration.brokers import connected
from tests.server import nats_server


async def test_results_come_out_in_the_order_of_the_input(
    provisioned: Connection, batches: Batches, unique: str, tmp_path: Path
) -> None:
    plan, work = plan_of(content(30, failing=(3, 17)), unique)
    async with answering(provisioned, unique):
        await batches.submit(plan, work)
        status = await finished(batches, plan.id)
    assert status.status == "completed"
    assert msgspec.to_builtins(status.request_counts) == {"total": 30, "completed": 28, "failed": 2}
    assert status.usage.total_tokens == 28 * 5

    collected = await batches.collect(plan.id, tmp_path)
    output, errors = read(collected.files.output), read(collected.files.errors)
    assert [line["custom_id"] for line in output] == [
        f"row-{n}" for n in range(30) if n not in (3, 17)
    ]
    assert [line["custom_id"] for line in errors] == ["row-3", "row-17"]
    assert [line["response"]["body"]["choices"][0]["message"]["content"] for line in output] == [
        f"n{n}" for n in range(30) if n not in (3, 17)
    ]
    assert output[0].keys() == errors[0].keys() == {"id", "custom_id", "response", "error"}
    assert errors[0]["response"] is None
    assert errors[0]["error"] == {"code": "engine_refused", "message": "as you asked"}
    assert collected.missing == 0


async def test_collecting_twice_gives_the_same_files(
    provisioned: Connection, batches: Batches, unique: str, tmp_path: Path
) -> None:
    plan, work = plan_of(content(9), unique)
    async with answering(provisioned, unique):
        await batches.submit(plan, work)
        await finished(batches, plan.id)
    first = (await batches.collect(plan.id, tmp_path)).files.output.read_bytes()
    second = (await batches.collect(plan.id, tmp_path, with_fleet=True)).files.output.read_bytes()
    third = (await batches.collect(plan.id, tmp_path)).files.output.read_bytes()
    assert first == third
    assert json.loads(second.splitlines()[0])["fleet"]["node"] == "n"
    assert names(tmp_path) == [f"{plan.id}_errors.jsonl", f"{plan.id}_output.jsonl"]


async def test_a_part_can_be_collected_before_the_end(
    provisioned: Connection, batches: Batches, unique: str, tmp_path: Path
) -> None:
    await provision(provisioned, [unique])
    plan, work = plan_of(content(6), unique)
    await batches.submit(plan, work)
    collected = await batches.collect(plan.id, tmp_path)
    assert (collected.missing, collected.files.output.read_bytes()) == (6, b"")
    assert collected.status.status == "in_progress"


async def test_cancelling_ends_what_is_not_done_and_may_be_repeated(
    provisioned: Connection, batches: Batches, unique: str, tmp_path: Path
) -> None:
    plan, work = plan_of(content(12), unique)
    async with answering(provisioned, unique, is_open=False) as answerer:
        await batches.submit(plan, work)
        assert (await batches.cancel(plan.id)).status == "cancelling"
        assert (await batches.cancel(plan.id)).status == "cancelling"
        answerer.gate.set()
        status = await finished(batches, plan.id)
    assert (status.status, status.request_counts.failed) == ("cancelled", 12)
    assert (await batches.cancel(plan.id)).status == "cancelled"
    collected = await batches.collect(plan.id, tmp_path)
    assert {line["error"]["code"] for line in read(collected.files.errors)} == {"cancelled"}
    with pytest.raises(UsageError, match="was cancelled"):
        await batches.submit(*plan_of(content(12), unique))


async def test_a_complete_batch_is_not_cancelled(
    provisioned: Connection, batches: Batches, unique: str
) -> None:
    plan, work = plan_of(content(4), unique)
    async with answering(provisioned, unique):
        await batches.submit(plan, work)
        await finished(batches, plan.id)
        assert (await batches.cancel(plan.id)).status == "completed"
    assert not (await batches.manifest(plan.id)).is_cancelled


async def test_the_list_knows_of_an_end_once_somebody_saw_it(
    provisioned: Connection, batches: Batches, unique: str
) -> None:
    plan, work = plan_of(content(4), unique)
    async with answering(provisioned, unique):
        await batches.submit(plan, work)
        assert [each.state for each in await batches.ls()] == ["submitted"]
        await finished(batches, plan.id)
    assert [each.state for each in await batches.ls()] == ["completed"]
    again = await batches.submit(*plan_of(content(4), unique))
    assert (again.state, again.submitted_jobs) == ("completed", 1)


async def test_a_second_line_of_an_item_is_counted_and_not_used(
    provisioned: Connection, batches: Batches, unique: str, tmp_path: Path
) -> None:
    plan, work = plan_of(content(2), unique)
    async with answering(provisioned, unique):
        await batches.submit(plan, work)
        await finished(batches, plan.id)
    log = ResultLog(provisioned)
    job = job_id(plan.id, 0)
    state = await log.read(unique, plan.id, job)
    forged = [msgspec.structs.replace(state.lines[0], custom_id="forged")]
    await log.append(
        unique, plan.id, job, forged, last=state.sequence, sha256=state.sha256 or "", writer="w"
    )
    collected = await batches.collect(plan.id, tmp_path)
    assert collected.status.fleet.duplicate_lines == 1
    assert [line["custom_id"] for line in read(collected.files.output)] == ["row-0", "row-1"]


async def test_lines_that_belong_to_no_request_are_left_out(
    provisioned: Connection, batches: Batches, unique: str, tmp_path: Path
) -> None:
    plan, work = plan_of(content(2), unique)
    async with answering(provisioned, unique):
        await batches.submit(plan, work)
        await finished(batches, plan.id)
    log = ResultLog(provisioned)
    line = (await log.read(unique, plan.id, job_id(plan.id, 0))).lines[0]
    for job, item in ((job_id(plan.id, 7), 0), (job_id(plan.id, 0), 9), ("stranger", 0)):
        info = msgspec.structs.replace(line.fleet, job=job, item=item, items=10)
        state = await log.read(unique, plan.id, job)
        foreign = [msgspec.structs.replace(line, fleet=info)]
        await log.append(unique, plan.id, job, foreign, last=state.sequence, sha256="", writer="w")
    collected = await batches.collect(plan.id, tmp_path)
    assert len(read(collected.files.output)) == 2
    status = await batches.status(plan.id)
    assert (status.status, status.fleet.foreign_lines) == ("completed", 3)


async def test_a_watch_outlives_a_restart_of_the_broker(tmp_path: Path, unique: str) -> None:
    plan, work = plan_of(content(8), unique)
    with ExitStack() as servers:
        server = servers.enter_context(nats_server(tmp_path))
        async with connected(server.url) as connection:
            await provision(connection, [unique])
            batches = Batches(connection, tenant=unique)
            await batches.submit(plan, work)
            async with asyncio.timeout(BOUND_S), aclosing(batches.watch(plan.id)) as statuses:
                assert (await anext(statuses)).request_counts.done == 0
                servers.close()
                servers.enter_context(nats_server(tmp_path, port=server.port))
                async with connected(server.url) as other, answering(other, unique):
                    counts = [status.request_counts.done async for status in statuses]
    assert counts[-1] == 8


async def test_batches_are_listed_oldest_first_and_by_tenant(
    provisioned: Connection, batches: Batches, unique: str
) -> None:
    await provision(provisioned, [unique])
    for number, name in enumerate(("b", "a", "c")):
        plan, work = plan_of(content(1 + number), unique, batch=name)
        await batches.submit(msgspec.structs.replace(plan, created_at=1e9 + number), work)
    assert [each.id for each in await batches.ls()] == ["b", "a", "c"]
    assert await Batches(provisioned, tenant=f"{unique}x").ls() == []


async def test_a_record_that_says_another_name_is_not_believed(
    provisioned: Connection, batches: Batches, unique: str
) -> None:
    plan, _ = plan_of(content(1), unique, batch="real")
    bucket = Bucket(provisioned, BATCHES, Manifest)
    forged = msgspec.structs.replace(plan, id="../../etc/passwd")
    await bucket.put(f"{unique}.real", forged, revision=0)
    with pytest.raises(NotFound):
        await batches.manifest("real")
    assert await batches.ls() == []


@pytest.mark.parametrize("action", ["manifest", "status", "cancel"])
async def test_what_is_not_there_is_said(batches: Batches, action: str) -> None:
    with pytest.raises(NotFound, match="no batch 'nothing'"):
        await getattr(batches, action)("nothing")
