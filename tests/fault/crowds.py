"""The faults of the campaign: what clients do, hostile ones and far too eager ones."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fleet.broker.connection import Connection
from tests.asking import Asker, chat
from tests.fault.act import Act
from tests.fault.play import Scenario
from tests.integration.brokers import connected
from tests.integration.hostile_jobs import BAD_BLOCKS, BAD_BODIES, ODD_BLOCKS
from tests.raw import publish_raw

CLIENTS = 10
FLOOD = 400
QUEUE = 12


async def published_a_hundred_times(act: Act) -> None:
    """Ten clients publish the same job ten times each, while a consumer dies over it."""
    job = act.plan("job0", items=8, tokens=(40, 60))

    async def client() -> None:
        async with connected(act.stage.url) as connection:
            for _ in range(10):
                await act.publish_again(job, by=Asker(connection, act.tenant))
                # Beyond the stream's own duplicate window, so that each of them is stored.
                await asyncio.sleep(act.chance.uniform(0.1, 0.2))

    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(client())
        act.kill(await act.victim())


async def hostile_jobs(act: Act) -> None:
    """Broken header blocks and bodies among good jobs, in random order."""
    subject = f"jobs.batch.smollm2.{act.tenant}"
    bodies = act.chance.sample(sorted(BAD_BODIES), 12)
    blocks = act.chance.sample(sorted(BAD_BLOCKS), 5)
    odd = act.chance.sample(sorted(ODD_BLOCKS), 5)
    for number, name in enumerate(bodies):
        job = f"bad{number}"
        act.odd[job] = 1
        await act.asker.publish("batch", BAD_BODIES[name][0], headers={"Fleet-Job-Id": job})
        act.note("publish", "foe", job=job, outcome="stored")
        if number % 3 == 0:
            await act.publish(1)
    for block in [BAD_BLOCKS[name] for name in blocks] + [ODD_BLOCKS[name] for name in odd]:
        await asyncio.to_thread(publish_raw, act.stage.url, subject.encode(), b"{}", block)
        await act.publish(1)


async def full_queue(act: Act) -> None:
    """The queue's limit is reached: the broker refuses with 10077, and later takes what waited."""
    async with queue_limit(act.connection, QUEUE):
        await act.publish(QUEUE * 3, items=4, tokens=(20, 30))
    if not any(entry.outcome == "full" for entry in act.history.of("publish")):
        act.note("unproven", "queue", outcome="the queue was never full")


@asynccontextmanager
async def queue_limit(connection: Connection, jobs: int) -> AsyncIterator[None]:
    """Let the stream of the batch tier hold few jobs of a tenant while the body runs."""
    info = await connection.api("STREAM.INFO.JOBS_BATCH")
    usual = info["config"]
    await connection.api("STREAM.UPDATE.JOBS_BATCH", usual | {"max_msgs_per_subject": jobs})
    try:
        yield
    finally:
        await connection.api("STREAM.UPDATE.JOBS_BATCH", usual)


async def flood_of_another_tenant(act: Act) -> None:
    """A tenant sends far more than fits; another one's few jobs are answered all the same."""
    flood = f"{act.tenant}-flood"
    other = Asker(act.connection, flood)
    act.others.append(flood)

    async def send(first: int) -> None:
        for number in range(first, FLOOD, CLIENTS):
            body = chat(f"{flood} {number}", 2, temperature=0)
            await other.publish("batch", body, headers={"Fleet-Job-Id": f"f{number}"})

    async with asyncio.TaskGroup() as group:
        for first in range(CLIENTS):
            group.create_task(send(first))
        await act.publish(4)
    act.kill(await act.victim())
    proof = await act.drained(flood)
    for job in proof.open:
        act.note("still_queued", job.node or "nobody", job=job.job, outcome=flood)
    for flaw in proof.flaws:
        act.note("unproven", flood, job=flaw.job, outcome=flaw.cause)
    if proof.jobs != FLOOD:
        act.note("unproven", flood, outcome=f"{proof.jobs} of {FLOOD} jobs are known")


CROWDS = (
    Scenario("duplicates", "one job published 100 times by 10 clients", published_a_hundred_times),
    Scenario("hostile", "broken headers and bodies among good jobs", hostile_jobs),
    Scenario("full", "the queue limit is reached", full_queue),
    Scenario("flood", "another tenant floods the queue", flood_of_another_tenant),
)
