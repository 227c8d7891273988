"""`fleet verify` on a real broker: proven, open, not proven, unknown, unreachable."""

import json
import time

import msgspec

from fleet.batches import Batches
from fleet.broker.connection import Connection
from fleet.evidence import verify
from fleet.subjects import results_subject
from fleet.wire import WRITER
from tests.integration.answering import answering
from tests.integration.batch_kit import content, finished, plan_of
from tests.integration.cli import fleet

NOBODY = "nats://127.0.0.1:1"


async def answered(batches: Batches, connection: Connection, unique: str) -> str:
    """A batch of ten requests in three jobs, all of them answered."""
    plan, bodies = plan_of(content(10, failing=[3]), unique)
    async with answering(connection, unique):
        await batches.submit(plan, bodies)
        await finished(batches, plan.id)
    return plan.id


async def test_a_batch_that_was_answered_is_proven(
    batches: Batches, provisioned: Connection, nats_url: str, unique: str
) -> None:
    batch = await answered(batches, provisioned, unique)
    ran = await fleet(nats_url, "verify", batch, "--tenant", unique)
    assert (ran.code, ran.out.splitlines()[0]) == (0, f"{batch}: proven"), ran
    assert "10 lines of 10 items" in ran.out

    told = json.loads((await fleet(nats_url, "verify", "--tenant", unique, "--json")).out)
    assert told["verdict"] == "proven"
    assert (told["proof"]["jobs"], told["proof"]["items"]) == (3, 10)


async def test_what_waits_in_the_queue_is_open(
    batches: Batches, provisioned: Connection, nats_url: str, unique: str
) -> None:
    plan, bodies = plan_of(content(10), unique)
    await batches.submit(plan, bodies)
    ran = await fleet(nats_url, "verify", plan.id, "--tenant", unique)
    assert ran.code == 3, ran
    assert f"{unique}/{plan.id}-000000: queued, 0 items done" in ran.out
    assert (await verify(provisioned, tenant=unique)).verdict == "open"


async def test_a_job_that_left_its_queue_without_a_word_is_missing(
    batches: Batches, provisioned: Connection, nats_url: str, unique: str
) -> None:
    plan, bodies = plan_of(content(10), unique)
    await batches.submit(msgspec.structs.replace(plan, created_at=time.time()), bodies)
    purge = {"filter": f"jobs.batch.{unique}.{unique}"}
    await provisioned.api("STREAM.PURGE.JOBS_BATCH", purge)
    ran = await fleet(nats_url, "verify", plan.id, "--tenant", unique)
    assert ran.code == 1, ran
    assert f"missing: {unique}/{plan.id}-000002: it is in no queue" in ran.out
    assert "submit it again with the same id" in ran.out


async def test_a_line_that_was_written_past_the_fence_is_found(
    batches: Batches, provisioned: Connection, unique: str
) -> None:
    batch = await answered(batches, provisioned, unique)
    subject = results_subject(unique, batch, f"{batch}-000000")
    reply = await provisioned.request(f"$JS.API.DIRECT.GET.RESULTS.{subject}")
    await provisioned.append(subject, reply.payload, headers={WRITER: "zombie.1"})
    proof = await verify(provisioned, tenant=unique, batch=batch)
    assert proof.verdict == "not_proven"
    assert {flaw.kind for flaw in proof.flaws} == {"fence", "doubled"}
    assert {flaw.job for flaw in proof.flaws} == {f"{batch}-000000"}


async def test_an_unknown_batch_and_a_silent_broker_have_codes_of_their_own(
    provisioned: Connection, nats_url: str, unique: str
) -> None:
    unknown = await fleet(nats_url, "verify", "nothing", "--tenant", unique)
    assert (unknown.code, unknown.out) == (4, "")
    silent = await fleet(NOBODY, "verify")
    assert (silent.code, silent.out) == (5, "")
