"""FastStream on JetStream, without its access log."""

import asyncio
import sys

import uvloop
from faststream import FastStream
from faststream.nats import JStream, NatsBroker, PullSub

from tests.bench.peers.load import JOB, RESULT, SLOTS, WINDOW, done, names, wait_for_go

NAMES = names("faststream")

broker = NatsBroker(sys.argv[2], logger=None)
stream = JStream(name=NAMES.jobs_stream, declare=False)


@broker.subscriber(  # type: ignore[untyped-decorator] # not installed here
    NAMES.jobs, stream=stream, durable="faststream", pull_sub=PullSub(batch_size=SLOTS),
    max_workers=SLOTS,
)  # fmt: skip
async def settle(body: str) -> None:
    """Store a result; the subscriber acknowledges behind it."""
    if body != JOB:
        raise ValueError("a job came otherwise than it was sent")
    await broker.publish(RESULT, NAMES.results, stream=NAMES.results_stream)


async def produce(jobs: int) -> None:
    """Publish that many jobs, WINDOW at a time."""
    await broker.connect()
    wait_for_go()
    for begin in range(0, jobs, WINDOW):
        async with asyncio.TaskGroup() as group:
            for _ in range(min(WINDOW, jobs - begin)):
                group.create_task(broker.publish(JOB, NAMES.jobs, stream=NAMES.jobs_stream))
    done()
    await broker.stop()


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        uvloop.run(FastStream(broker).run())
    else:
        uvloop.run(produce(int(sys.argv[3])))
