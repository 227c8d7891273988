"""Consumers die, freeze and are told to go; their jobs are finished once, and rightly."""

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from fleet.broker.claims import Claims
from fleet.broker.nodes import Nodes
from fleet.events import JobLost, JobReleased, JobTakenOver
from fleet.job import ResultLine
from tests.asking import (
    Asker,
    answer_to,
    chat,
    chunk,
    event_of,
    events_of,
    eventually,
    text_of,
)
from tests.conftest import SEED
from tests.fleets import QUICK, RunningFleet, running_fleet
from tests.integration.brokers import connected

ACK_WAIT_S = float(QUICK["FLEET_ACK_WAIT_S"])
CHECKPOINT_S = float(QUICK["FLEET_CHECKPOINT_S"])
# What a machine that is busy with other things takes to go on.
LATE_S = 10.0
RATE = 40
TOKENS = 160


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFleet]:
    """Two spot consumers, replaced when they end; an item takes four seconds."""
    flags = ("--on-demand", "1", "--spot", "2", "--replace", "--token-rate", str(RATE))
    with running_fleet(tmp_path_factory.mktemp("fleet"), *flags) as running:
        yield running


@pytest.fixture
async def asker(fleet: RunningFleet, unique: str) -> AsyncIterator[Asker]:
    async with connected(fleet.nats) as connection:
        asker = Asker(connection, unique)
        await all_ready(asker, 3)
        yield asker


async def test_a_killed_consumers_job_goes_on_from_its_checkpoint(
    fleet: RunningFleet, asker: Asker
) -> None:
    before = await tokens_generated(asker)
    await asker.publish("batch", job_of(6, first_tokens=20), headers={"Fleet-Job-Id": "job"})
    (line, *_) = await asker.some_lines("job")
    victim = line.fleet.node
    await eventually(lambda: all_saved(asker, "job", 5), "a checkpoint to go on from")
    before_kill = await tokens_generated(asker) - before
    killed_at = time.time()
    fleet.send(victim, signal.SIGKILL)
    taken = await event_of(asker.connection, JobTakenOver, tenant=asker.tenant)
    assert (taken.from_node, taken.released, taken.node == victim) == (victim, False, False)
    assert taken.at - killed_at < ACK_WAIT_S + LATE_S
    assert taken.items_done == 1
    assert taken.tokens_saved > 0
    lines = await asker.lines("job")
    check(lines, first_tokens=20)
    assert {line.fleet.resumed for line in lines} == {"no", "exact"}
    assert {line.fleet.interruptions for line in lines} == {0, 1}
    delivered = sum((line.usage or {})["completion_tokens"] for line in lines)
    # The victim's last beat is up to one beat and one checkpoint old.
    lost = before_kill - 20 - taken.tokens_saved
    assert lost <= 5 * RATE * (CHECKPOINT_S + 1), (before_kill, taken.tokens_saved, delivered)


async def test_a_notice_hands_the_job_over_at_once(fleet: RunningFleet, asker: Asker) -> None:
    waits: list[float] = []
    for number in range(5):
        await all_ready(asker, 3)
        job = f"job{number}"
        await asker.publish("batch", job_of(2, first_tokens=10), headers={"Fleet-Job-Id": job})
        (line, *_) = await asker.some_lines(job)
        fleet.send(line.fleet.node, signal.SIGTERM)
        ended = fleet.next_event("ended", node=line.fleet.node)
        assert ended["code"] == 0, fleet.log()
        released = await event_of(asker.connection, JobReleased, tenant=asker.tenant, job=job)
        taken = await event_of(asker.connection, JobTakenOver, tenant=asker.tenant, job=job)
        assert (taken.from_node, taken.released) == (None, True)
        assert taken.tokens_saved == released.tokens_saved
        waits.append(taken.at - released.at)
        check(await asker.lines(job), first_tokens=10)
    # Without the release it would have been the ack wait.
    assert sorted(waits)[2] < ACK_WAIT_S / 2, waits


async def test_a_frozen_consumer_that_comes_back_says_nothing(
    fleet: RunningFleet, asker: Asker
) -> None:
    await asker.publish("batch", job_of(3, first_tokens=10), headers={"Fleet-Job-Id": "job"})
    (line, *_) = await asker.some_lines("job")
    zombie = line.fleet.node
    fleet.send(zombie, signal.SIGSTOP)
    try:
        lines = await asker.lines("job", bound_s=60)
    finally:
        fleet.send(zombie, signal.SIGCONT)
    await event_of(asker.connection, JobLost, tenant=asker.tenant, node=zombie)
    check(lines, first_tokens=10)
    assert await asker.lines("job") == lines
    assert zombie not in fleet.gone()
    await all_ready(asker, 3)


async def test_a_consumer_whose_lease_lapsed_goes_on_if_nobody_else_is_there(
    tmp_path: Path, unique: str
) -> None:
    flags = ("--on-demand", "0", "--spot", "1", "--token-rate", str(RATE))
    with running_fleet(tmp_path, *flags) as alone:
        async with connected(alone.nats) as connection:
            asker = Asker(connection, unique)
            await asker.publish("batch", job_of(3), headers={"Fleet-Job-Id": "job"})
            await checkpointed(asker, "job")
            (name,) = alone.of("spot")
            alone.send(name, signal.SIGSTOP)
            await asyncio.sleep(ACK_WAIT_S + 0.5)
            alone.send(name, signal.SIGCONT)
            lines = await asker.lines("job")
            check(lines)
            assert {line.fleet.interruptions for line in lines} == {0}
            await queue_is_empty(asker)
            assert await asker.lines("job") == lines
            await asker.publish("batch", job_of(1), headers={"Fleet-Job-Id": "next"})
            check(await asker.lines("next"))
        assert alone.gone() == [], alone.log()


async def test_equal_publishes_of_many_clients_are_one_job(
    fleet: RunningFleet, asker: Asker
) -> None:
    async def client() -> None:
        async with connected(fleet.nats) as connection:
            other = Asker(connection, asker.tenant)
            for _ in range(5):
                await other.publish("batch", job_of(2), headers={"Fleet-Job-Id": "job"})
                await asyncio.sleep(0.15)  # beyond the stream's own duplicate window

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(client())
    lines = await asker.lines("job")
    check(lines)
    await queue_is_empty(asker)
    assert await asker.lines("job") == lines


async def test_random_kills_in_a_row_cost_no_item_and_double_none(
    fleet: RunningFleet, asker: Asker
) -> None:
    chance = random.Random(SEED)
    jobs = [f"job{n}" for n in range(6)]
    for job in jobs:
        await asker.publish("batch", job_of(8), headers={"Fleet-Job-Id": job})
    for _ in range(4):
        await asyncio.sleep(chance.uniform(0.5, 2.5))
        alive = [name for name in fleet.of("spot") if name not in fleet.gone()]
        victim = chance.choice(alive)
        fleet.send(victim, signal.SIGKILL)
        fleet.next_event("ended", node=victim)
    for job in jobs:
        check(await asker.lines(job, bound_s=90))
    await queue_is_empty(asker)
    for job in jobs:
        check(await asker.lines(job))
    lost = await events_of(asker.connection, JobTakenOver, tenant=asker.tenant)
    assert lost, "nothing was interrupted"


def job_of(items: int, *, first_tokens: int = TOKENS) -> bytes:
    """Write a greedy job; its first item may be a short one."""
    return msgspec.json.encode(
        chunk([
            chat(f"item {n}", TOKENS if n else first_tokens, temperature=0) for n in range(items)
        ])
    )  # fmt: skip


def check(lines: list[ResultLine], *, first_tokens: int = TOKENS) -> None:
    """Compare with what nobody disturbed."""
    for n, line in enumerate(lines):
        assert text_of(line) == answer_to(f"item {n}", TOKENS if n else first_tokens)
        assert (line.usage or {})["completion_tokens"] == (TOKENS if n else first_tokens)


async def all_saved(asker: Asker, job: str, items: int) -> bool:
    """Whether so many items of a job have tokens in its claim."""
    held = await Claims(asker.connection).get(asker.tenant, job)
    saved = held.claim.saved if held and held.claim else ()
    return sum(bool(one.done_ids) for one in saved) == items


async def checkpointed(asker: Asker, job: str) -> None:
    """Wait for a job's first checkpoint."""

    async def look() -> bool:
        return await Claims(asker.connection).get(asker.tenant, job) is not None

    await eventually(look, "a checkpoint")


async def tokens_generated(asker: Asker) -> int:
    """Sum what all living nodes say they generated."""
    return sum(node.tokens_generated for node in await Nodes(asker.connection).list())


async def all_ready(asker: Asker, count: int) -> None:
    async def look() -> bool:
        nodes = await Nodes(asker.connection).list()
        return sum(node.state == "ready" for node in nodes) == count

    await eventually(look, f"{count} ready nodes")


async def queue_is_empty(asker: Asker) -> None:
    async def look() -> bool:
        query = {"subjects_filter": f"jobs.batch.*.{asker.tenant}"}
        info = await asker.connection.api("STREAM.INFO.JOBS_BATCH", query)
        return not info["state"].get("subjects")

    await eventually(look, "an empty queue", bound_s=60)
