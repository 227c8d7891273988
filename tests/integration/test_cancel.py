"""One job is cancelled wherever it is, and ends once."""

import json
from collections.abc import AsyncIterator, Iterator

import pytest

from fleet.broker.connection import Connection
from fleet.cancel import cancel
from fleet.errors import JobRejected, NotFound
from fleet.job import ResultLine
from tests.asking import Asker, answer_to, chat, chunk, eventually, text_of
from tests.fleets import RunningFleet, running_consumer, running_fleet
from tests.integration import cli
from tests.integration.brokers import connected

LONG = 5000


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFleet]:
    """One spot consumer, fifty tokens a second, that saves once an hour."""
    folder = tmp_path_factory.mktemp("fleet")
    env = {"FLEET_ACK_WAIT_S": "3", "FLEET_BEAT_S": "0.5", "FLEET_BEAT_TTL_S": "2",
           "FLEET_CHECKPOINT_S": "3600", "FLEET_CHECKPOINT_ITEMS": "1"}  # fmt: skip
    flags = ("--on-demand", "0", "--spot", "1", "--token-rate", "50")
    with running_fleet(folder, *flags, env=env) as running:
        yield running


@pytest.fixture
async def asker(fleet: RunningFleet, unique: str) -> AsyncIterator[Asker]:
    async with connected(fleet.nats) as connection:
        yield Asker(connection, unique)


async def publish(asker: Asker, body: object, *, tier: str = "batch", **headers: str) -> None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    await asker.publish(tier, body, headers=named)


async def queue_is_empty(asker: Asker) -> None:
    async def look() -> bool:
        query = {"subjects_filter": f"jobs.batch.*.{asker.tenant}"}
        info = await asker.connection.api("STREAM.INFO.JOBS_BATCH", query)
        return not info["state"].get("subjects")

    await eventually(look, "an empty queue")


def codes(lines: list[ResultLine]) -> list[str | None]:
    return [line.error.code if line.error else None for line in lines]


async def test_a_running_job_is_ended_by_its_consumer_and_keeps_what_it_has(asker: Asker) -> None:
    await publish(asker, chunk([chat("short", 2), chat("long", LONG)]), Fleet_Job_Id="j")
    await asker.some_lines("j")
    found = await cancel(asker.connection, tenant=asker.tenant, job="j")
    assert (found.state, found.items_done, found.items) == ("running", 1, 2)
    # It would run for a hundred seconds, and its consumer saves once an hour.
    short, long = await asker.lines("j")
    assert text_of(short) == answer_to("short", 2)
    assert codes([short, long]) == [None, "cancelled"]
    assert long.fleet.capacity_type == "spot", "the sweep, which comes later, has none"


async def test_a_job_of_a_batch_is_found_without_the_batch_being_named(asker: Asker) -> None:
    await publish(asker, chat("long", LONG), Fleet_Job_Id="j", Fleet_Batch="b")
    found = await cancel(asker.connection, tenant=asker.tenant, job="j")
    assert found.batch == "b"
    assert codes(await asker.lines("j", "b")) == ["cancelled"]


async def test_a_job_without_an_id_is_cancelled_by_its_place_in_the_stream(asker: Asker) -> None:
    receipt = await asker.publish("batch", chat("long", LONG))
    job = f"{receipt.stream}-{receipt.sequence}"
    await cancel(asker.connection, tenant=asker.tenant, job=job)
    assert codes(await asker.lines(job)) == ["cancelled"]


async def test_a_cancelled_job_that_is_published_again_takes_no_engine_time(asker: Asker) -> None:
    await publish(asker, chat("long", LONG), Fleet_Job_Id="j")
    await cancel(asker.connection, tenant=asker.tenant, job="j")
    lines = await asker.lines("j")
    await queue_is_empty(asker)
    await publish(asker, chat("long", LONG), Fleet_Job_Id="j")
    await queue_is_empty(asker)
    assert await asker.raw_lines("j") == lines


async def test_a_finished_job_stays_as_it_is(fleet: RunningFleet, asker: Asker) -> None:
    await publish(asker, chat("x"), Fleet_Job_Id="j")
    (line,) = await asker.lines("j")
    ran = await cli.fleet(fleet.nats, "cancel", "j", "--tenant", asker.tenant)
    assert (ran.code, ran.out) == (0, "j is finished already, nothing changed\n")
    assert await asker.raw_lines("j") == [line]


async def test_cancelling_twice_ends_a_job_once(fleet: RunningFleet, asker: Asker) -> None:
    await publish(asker, chat("long", LONG), Fleet_Job_Id="j")
    flags = ("j", "--tenant", asker.tenant, "--json")
    states = [
        json.loads((await cli.fleet(fleet.nats, "cancel", *flags)).out)["state"] for _ in "ab"
    ]
    assert states[0] in {"queued", "running"}
    assert states[1] == "cancelled"
    assert codes(await asker.lines("j")) == ["cancelled"]


async def test_a_job_that_nobody_knows_is_not_found(fleet: RunningFleet, asker: Asker) -> None:
    ran = await cli.fleet(fleet.nats, "cancel", "nothing", "--tenant", asker.tenant)
    assert (ran.code, ran.out) == (4, "")
    with pytest.raises(NotFound, match="dead ls"):
        await cancel(asker.connection, tenant=asker.tenant, job="nothing")
    with pytest.raises(JobRejected):
        await cancel(asker.connection, tenant=asker.tenant, job="a.>")


async def test_a_queued_job_takes_no_engine_time_when_a_consumer_comes(
    fleet: RunningFleet, asker: Asker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    await publish(asker, chat("long", LONG), tier="realtime", Fleet_Job_Id="j")
    assert (await cancel(asker.connection, tenant=asker.tenant, job="j")).state == "queued"
    with running_consumer(tmp_path_factory.mktemp("late"), fleet.nats, "on-demand"):
        (line,) = await asker.lines("j")
    assert (codes([line]), line.fleet.run_s) == (["cancelled"], 0)


async def test_a_tenant_cancels_no_job_of_another(
    asker: Asker, connection_of_another: Connection
) -> None:
    await publish(asker, chat("x", 100), Fleet_Job_Id="j")
    with pytest.raises(NotFound):
        await cancel(connection_of_another, tenant=f"{asker.tenant}x", job="j")
    assert codes(await asker.lines("j")) == [None]


@pytest.fixture
async def connection_of_another(fleet: RunningFleet) -> AsyncIterator[Connection]:
    async with connected(fleet.nats) as connection:
        yield connection
