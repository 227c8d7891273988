"""Ask one question and read the answer live; then ask many and wait for all.

python docs/examples/producer.py nats://127.0.0.1:4222 smollm2
"""

import asyncio
import sys
from contextlib import aclosing

from fleet.live_answer import choices
from fleet.producer import open_producer


def ask(question: str) -> dict[str, object]:
    """Write a request as OpenAI's batch format has it."""
    messages = [{"role": "user", "content": question}]
    return {"url": "/v1/chat/completions", "body": {"messages": messages, "max_tokens": 32}}


async def main(url: str | None = None, model: str = "smollm2") -> None:
    """Submit in both ways; every wait has a bound."""
    async with open_producer(url, tenant="default") as producer, asyncio.timeout(300):
        # Real time goes to on-demand nodes only. The id makes a repetition harmless.
        ticket = await producer.submit(ask("Why is the sky blue?"), model=model, tier="realtime")
        async with aclosing(producer.stream(ticket)) as deltas:
            async for delta in deltas:
                print(delta.text, end="", flush=True)
        print()

        # Batch goes to spot nodes. One that vanishes costs a few tokens, not a job.
        capitals = ("France", "Japan", "Peru")
        requests = [ask(f"What is the capital of {country}?") for country in capitals]
        for ticket in await producer.submit_many(requests, model=model):
            for line in await producer.result(ticket):
                if line.error is not None:
                    print(ticket.job, line.error.code, line.error.message, file=sys.stderr)
                for choice in choices(line):
                    print(choice.text)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
