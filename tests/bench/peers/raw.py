"""Bare JetStream through nats-py: the same messages, the same guarded write, no more.

Atomic batches in; pulls, one guarded result a job, and an acknowledgement with an answer.
"""

import asyncio
import itertools
import json
import secrets
import sys

import nats
import uvloop
from nats.aio.client import Client
from nats.aio.msg import Msg

from tests.bench.peers.load import GROUP, JOB, RESULT, SLOTS, done, wait_for_go

MODEL = "raw"
STREAM, DURABLE = "JOBS_BATCH", f"batch_{MODEL}"
SUBJECT = f"jobs.batch.{MODEL}.bench"
PULL = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{DURABLE}"
EXPIRES_S = 5
EXPECTED = "Nats-Expected-Last-Subject-Sequence"


async def produce(url: str, jobs: int) -> None:
    """Publish that many jobs in atomic batches."""
    client = await nats.connect(url)
    payload = JOB.encode()
    wait_for_go()
    for begin in range(0, jobs, GROUP):
        batch, size = secrets.token_hex(8), min(GROUP, jobs - begin)
        for number in range(1, size):
            headers = {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
            await client.publish(SUBJECT, payload, headers=headers)
        headers = {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(size)}
        headers["Nats-Batch-Commit"] = "1"
        reply = await client.request(SUBJECT, payload, headers=headers, timeout=30)
        if "error" in json.loads(reply.data):
            raise RuntimeError(reply.data)
    done()
    await client.close()


async def work(url: str) -> None:
    """Keep SLOTS jobs in hand until the process is ended."""
    client = await nats.connect(url)
    arrived: asyncio.Queue[Msg] = asyncio.Queue()
    inbox = client.new_inbox()
    await client.subscribe(inbox, cb=arrived.put)
    run, numbers, payload = secrets.token_hex(4), itertools.count(), RESULT.encode()
    # Jobs that are asked for and not settled.
    owed = 0

    async def refill() -> None:
        nonlocal owed
        if owed <= SLOTS // 2:
            missing, owed = SLOTS - owed, SLOTS
            await _pull(client, inbox, missing)

    async def settle(message: Msg) -> None:
        nonlocal owed
        subject = f"results.bench._.{run}-{next(numbers)}"
        reply = await client.request(subject, payload, headers={EXPECTED: "0"}, timeout=30)
        if "error" in json.loads(reply.data):
            raise RuntimeError(reply.data)
        await client.request(message.reply, b"+ACK", timeout=30)
        owed -= 1
        await refill()

    await refill()
    async with asyncio.TaskGroup() as group:
        while True:
            message = await arrived.get()
            if message.headers and "Status" in message.headers:
                owed -= int(message.headers.get("Nats-Pending-Messages", 0))
                await refill()
            else:
                group.create_task(settle(message))


async def _pull(client: Client, inbox: str, count: int) -> None:
    body = json.dumps({"batch": count, "expires": EXPIRES_S * 10**9})
    await client.publish(PULL, body.encode(), reply=inbox)


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        uvloop.run(work(sys.argv[2]))
    else:
        uvloop.run(produce(sys.argv[2], int(sys.argv[3])))
