"""How fast jobs go in, and whether they come out as fast when a million of them wait.

Two brokers that sync every write, one with the large backlog and one with a thousand jobs. Out: in
turns, a thousand jobs pulled by our own puller, 64 at a time, each acknowledged with an answer. In:
atomic batches (`publish_all`), and `submit_many`, which looks at each job first.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence

from fleet.broker.batch_publish import Outgoing
from fleet.broker.queue import Puller
from fleet.job import Tier
from fleet.producer import Producer
from fleet.publish import grouped, publish_all
from fleet.subjects import durable, job_stream, job_subject
from fleet.topology import BATCH_QUEUE
from fleet.wire import job_headers
from tests.bench.peers.load import SLOTS
from tests.bench.peers.ours import request
from tests.bench.report import Figure, Options, at_least, median, ratio, say
from tests.bench.stage import COUNT_S, Stage, Stopwatch, rss_mib, stage

MODEL = "null"
SMALL = 1_000
LARGE = 1_000_000
WARM_UP = 2
SUBMITTED = 20_000


async def measure(options: Options) -> Sequence[Figure]:
    """Fill both brokers, then pull from them in turns."""
    jobs = options.jobs or (20_000 if options.quick else LARGE)
    rounds = options.rounds or (3 if options.quick else 20)
    async with stage(MODEL) as deep, stage(MODEL) as shallow:
        empty_mib = rss_mib(deep.server.pid)
        published = [await _fill(deep, jobs)]
        say(f"  {published[0]:.0f} jobs/s in")
        full_mib = rss_mib(deep.server.pid)
        rates: dict[str, list[float]] = {"deep": [], "shallow": []}
        for number in range(rounds + WARM_UP):
            for name, here in (("deep", deep), ("shallow", shallow)):
                # Both, so that both servers do the same before: a fresh write is slow to pull.
                await _fill(here, SMALL)
                rate = await _pull(here, SMALL)
                if number >= WARM_UP:
                    rates[name].append(rate)
            if number >= WARM_UP:
                say(f"  {rates['deep'][-1]:.0f} of {jobs}, {rates['shallow'][-1]:.0f} of {SMALL}")
        async with deep.consumer("null-1", model=MODEL) as consumer:
            await _consumed(deep, SMALL)  # its first jobs
            consumed = await _consumed(deep, SMALL)
            consumer_mib = rss_mib(consumer.pid)
        submitted = await _submit(shallow, min(jobs, SUBMITTED))
        worked_mib = rss_mib(deep.server.pid)
    return (
        at_least(0.9, ratio("pull_deep_to_shallow", rates["deep"], rates["shallow"])),
        at_least(20_000, median("publish_all", published, "jobs/s")),
        median("submit_many", [submitted], "jobs/s", "checks included"),
        median("pull_deep", rates["deep"], "jobs/s"),
        median("pull_shallow", rates["shallow"], "jobs/s"),
        median("consume_deep", [consumed], "jobs/s", "a consumer with the scripted engine"),
        Figure(name="jobs", value=jobs, unit="jobs"),
        Figure(name="server_rss_empty", value=empty_mib, unit="MiB"),
        Figure(name="server_rss_filled", value=full_mib, unit="MiB"),
        Figure(name="server_rss_worked", value=worked_mib, unit="MiB"),
        Figure(name="consumer_rss", value=consumer_mib, unit="MiB"),
    )


def _messages(jobs: int) -> Iterator[Outgoing]:
    """Make 1 KiB jobs, of as many tenants as it takes: the queue of one is bounded."""
    payload = request(0)
    for number in range(jobs):
        tenant = f"tenant-{number // (BATCH_QUEUE // 2)}"
        headers = job_headers(tenant, f"job-{os.urandom(8).hex()}")
        yield job_subject(Tier.BATCH, MODEL, tenant), payload, headers


async def _fill(here: Stage, jobs: int) -> float:
    """Publish so many jobs; return how many a second."""
    clock = Stopwatch()
    await publish_all(here.connection, grouped(_messages(jobs)))
    return jobs / clock.s


async def _pull(here: Stage, jobs: int) -> float:
    puller = Puller(
        here.connection, stream=job_stream(Tier.BATCH), durable=durable(Tier.BATCH, MODEL)
    )
    async with puller:
        clock, taken = Stopwatch(), 0
        async with asyncio.TaskGroup() as acknowledging:
            while taken < jobs:
                if not puller.outstanding:
                    await puller.ask(min(SLOTS, jobs - taken))
                if delivery := await puller.next():
                    taken += 1
                    acknowledging.create_task(delivery.ack())
        return jobs / clock.s


async def _consumed(here: Stage, jobs: int) -> float:
    """Watch a consumer for that many jobs."""
    stream = job_stream(Tier.BATCH)
    left = before = await here.messages(stream)
    clock = Stopwatch()
    while left > before - jobs:
        await asyncio.sleep(COUNT_S)
        left = await here.messages(stream)
    return (before - left) / clock.s


async def _submit(here: Stage, jobs: int) -> float:
    producer = Producer(here.connection, tenant="bench")
    requests = [request(number) for number in range(jobs)]
    clock = Stopwatch()
    await producer.submit_many(requests, model=MODEL)
    return jobs / clock.s
