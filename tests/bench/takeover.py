"""How long a job lies still when its consumer is killed (-9), or told to go (SIGTERM).

One long job is handed from consumer to consumer. From the signal to the moment that the next
consumer, which is up and has room, says in EVENTS that it has taken the job over. Default settings.
"""

import asyncio
import signal
import time
from asyncio.subprocess import Process
from collections.abc import Sequence
from contextlib import AsyncExitStack

from fleet.broker.claims import Claims
from fleet.broker.eventlog import EventLog
from fleet.events import JobTakenOver
from fleet.job import Tier
from fleet.producer import Producer, Ticket
from tests.bench.blows import measured
from tests.bench.report import Figure, Options, say
from tests.bench.stage import POLL_S, TENANT, Stage

MODEL = "takeover"
ITEMS = 64
TOKENS = 20_000
RATE = ("--engine", "scripted", "--token-rate", "20", "--slots", str(ITEMS))
PATIENCE_S = 60.0


async def measure(options: Options) -> Sequence[Figure]:
    """Strike so often with each signal."""
    return await measured(options, model=MODEL, name="after", strike=_strike)


async def _strike(here: Stage, blows: Sequence[signal.Signals]) -> list[float]:
    producer = Producer(here.connection, tenant=TENANT)
    pauses: list[float] = []
    async with AsyncExitStack() as consumers:

        async def join(number: int) -> Process:
            consumer = here.consumer(f"node-{number}", model=MODEL, arguments=RATE)
            return await consumers.enter_async_context(consumer)

        holder = await join(0)
        ticket = await producer.submit(_job(), model=MODEL, tier=Tier.BATCH)
        for number, blow in enumerate(blows, 1):
            await _owned(here, ticket, f"node-{number - 1}")
            heir = await join(number)
            struck_at = time.time()
            holder.send_signal(blow)
            taken = await _taken_over(here, f"node-{number}")
            pauses.append(taken.at - struck_at)
            say(f"  {blow.name}: {pauses[-1]:.3f} s, {taken.tokens_saved} tokens saved")
            holder = heir
    return pauses


async def _owned(here: Stage, ticket: Ticket, node: str) -> None:
    """Wait for the owner's first checkpoint, so that every blow falls in the middle of the work."""
    claims = Claims(here.connection)
    async with asyncio.timeout(PATIENCE_S):
        while True:
            held = await claims.get(ticket.tenant, ticket.job)
            if held and held.claim and held.claim.owner == node and held.claim.saved:
                return
            await asyncio.sleep(POLL_S)


async def _taken_over(here: Stage, node: str) -> JobTakenOver:
    log, after = EventLog(here.connection), 0
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async for recorded in log.read(after):
                after = recorded.sequence
                if isinstance(recorded.event, JobTakenOver) and recorded.event.node == node:
                    return recorded.event
            await asyncio.sleep(POLL_S)


def _job() -> dict[str, object]:
    return {
        "requests": [
            {
                "custom_id": f"row-{n}",
                "url": "/v1/completions",
                "body": {"prompt": f"prompt {n}", "max_tokens": TOKENS},
            }
            for n in range(ITEMS)
        ]
    }
