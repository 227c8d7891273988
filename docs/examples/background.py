"""Label what comes in, in the background of an application: nobody waits for it, but not for long.

tail -f tickets.jsonl | python docs/examples/background.py --model smollm2

Each line of stdin is a job of the tier `background`: spot nodes take it first, and an on-demand
node does at once where none is waiting. Labels are printed in the order in which they come. A line
that comes twice, or again after a restart, is answered from the first time: its id is the job's.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator

from fleet.errors import JobRejected
from fleet.job import Tier
from fleet.live_answer import choices
from fleet.producer import Producer, open_producer

SYSTEM = "Answer with one word: order, repair, complaint or other."
# So many are under way at once; further lines wait at their source.
MOST_AT_ONCE = 64
DEADLINE_S = 3600.0


async def lines() -> AsyncIterator[bytes]:
    """Yield the lines of stdin as they come, from a pipe as well as from a file."""
    while line := await asyncio.to_thread(sys.stdin.buffer.readline):
        yield line


async def label(producer: Producer, record: dict[str, str], model: str) -> None:
    """Submit one record, wait for its label and print it."""
    messages = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": record["text"]},
    ]
    body = {"messages": messages, "temperature": 0, "max_tokens": 4}
    ticket = await producer.submit(
        {"url": "/v1/chat/completions", "body": body},
        model=model,
        tier=Tier.BACKGROUND,
        job_id=f"label-{record['id']}",
        deadline=time.time() + DEADLINE_S,
    )
    (line,) = await producer.result(ticket)
    if line.error is not None:
        said = {"id": record["id"], "error": line.error.code}
    else:
        said = {"id": record["id"], "label": choices(line)[0].text.strip()}
    print(json.dumps(said), flush=True)


async def main() -> None:
    """Label all that comes until stdin ends."""
    flags = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    flags.add_argument("--model", default="smollm2")
    flags.add_argument("--tenant", default="default")
    given = flags.parse_args()
    room = asyncio.Semaphore(MOST_AT_ONCE)

    async def one(line: bytes) -> None:
        try:
            record = json.loads(line)
            await label(producer, record, given.model)
        except (ValueError, KeyError, TypeError) as error:
            print(f"not labelled, for it is no record: {error}", file=sys.stderr)
        except JobRejected as error:
            print(f"not labelled: {error}", file=sys.stderr)
        finally:
            room.release()

    async with open_producer(tenant=given.tenant) as producer, asyncio.TaskGroup() as group:
        async for line in lines():
            await room.acquire()
            group.create_task(one(line))


if __name__ == "__main__":
    asyncio.run(main())
