"""Overbook's producer. Its worker is a spot consumer with the scripted engine."""

import sys

import msgspec
import uvloop

from fleet.producer import open_producer
from tests.bench.peers.load import JOB_BYTES, done, wait_for_go

MODEL = "null"


def request(number: int) -> bytes:
    """Make a job of exactly JOB_BYTES that asks for one token."""
    body = {"prompt": "", "max_tokens": 1}
    line = {"custom_id": f"row-{number}", "url": "/v1/completions", "body": body}
    body["prompt"] = "x" * (JOB_BYTES - len(msgspec.json.encode(line)))
    return msgspec.json.encode(line)


async def produce(url: str, jobs: int) -> None:
    """Submit that many jobs."""
    async with open_producer(url, tenant="bench") as producer:
        requests = [request(number) for number in range(jobs)]
        wait_for_go()
        await producer.submit_many(requests, model=MODEL)
        done()


if __name__ == "__main__":
    uvloop.run(produce(sys.argv[2], int(sys.argv[3])))
