"""taskiq on JetStream: `taskiq worker` runs the task, this module as a program produces."""

import asyncio
import os
import sys

import uvloop
from taskiq_nats import PullBasedJetStreamBroker

from tests.bench.peers.load import JOB, RESULT, SLOTS, WINDOW, done, names, wait_for_go

NAMES = names("taskiq")

broker = PullBasedJetStreamBroker(
    servers=os.environ["BENCH_NATS"],
    subject=NAMES.jobs,
    stream_name=NAMES.jobs_stream,
    durable="taskiq",
    pull_consume_batch=SLOTS,
)


@broker.task(task_name="settle")  # type: ignore[untyped-decorator] # not installed here
async def settle(body: str) -> None:
    """Store a result; the worker acknowledges behind it."""
    if body != JOB:
        raise ValueError("a job came otherwise than it was sent")
    await broker.js.publish(NAMES.results, RESULT.encode())


async def produce(jobs: int) -> None:
    """Publish that many jobs, WINDOW at a time."""
    await broker.startup()
    wait_for_go()
    for begin in range(0, jobs, WINDOW):
        async with asyncio.TaskGroup() as group:
            for _ in range(min(WINDOW, jobs - begin)):
                group.create_task(settle.kiq(JOB))
    done()
    await broker.shutdown()


if __name__ == "__main__":
    uvloop.run(produce(int(sys.argv[3])))
