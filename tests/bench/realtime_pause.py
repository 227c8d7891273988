"""How long a reader of a real-time answer waits when its consumer is killed (-9) or told to go.

One long answer is handed from consumer to consumer, another one being up each time. From the last
piece that the reader gets of the old one to the first that it gets of the new one. Default
settings, but for a notice that leaves 3 s.
"""

import asyncio
import signal
import time
from asyncio.subprocess import Process
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing

from fleet.job import Tier
from fleet.producer import Producer, Ticket
from tests.bench.blows import measured
from tests.bench.report import Figure, Options, say
from tests.bench.stage import TENANT, Stage

MODEL = "pause"
TOKENS = 20_000
RATE = ("--engine", "scripted", "--token-rate", "20")
ENVIRONMENT = {"FLEET_DRAIN_S": "3"}
PATIENCE_S = 60.0
JOB_S = 3600.0
# A reader that is not struck waits a twentieth of a second; the machine may be busy.
STEADY = 20


async def measure(options: Options) -> Sequence[Figure]:
    """Strike so often with each signal."""
    return await measured(options, model=MODEL, name="pause", strike=_strike)


async def _strike(here: Stage, blows: Sequence[signal.Signals]) -> list[float]:
    producer = Producer(here.connection, tenant=TENANT)
    pauses: list[float] = []
    async with AsyncExitStack() as consumers, asyncio.TaskGroup() as group:

        async def join(number: int) -> Process:
            return await consumers.enter_async_context(
                here.consumer(
                    f"node-{number}",
                    model=MODEL,
                    capacity_type="on-demand",
                    arguments=RATE,
                    environment=ENVIRONMENT,
                )
            )

        holder = await join(0)
        ticket = await producer.submit(
            _request(), model=MODEL, tier=Tier.REALTIME, deadline=time.time() + JOB_S
        )
        reader = _Reader()
        reading = group.create_task(reader.read(producer, ticket))
        for number, blow in enumerate(blows, 1):
            heir = await join(number)
            await reader.gets(STEADY)
            reader.longest_s = 0.0
            holder.send_signal(blow)
            async with asyncio.timeout(PATIENCE_S):
                await holder.wait()
            await reader.gets(STEADY)
            pauses.append(reader.longest_s)
            say(f"  {blow.name}: {pauses[-1]:.3f} s")
            holder = heir
        reading.cancel()
    return pauses


class _Reader:
    """Reads the answer. longest_s: the longest wait between two pieces since it was set to 0."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._pieces = 0
        self._fresh = asyncio.Condition()

    async def read(self, producer: Producer, ticket: Ticket) -> None:
        async with aclosing(producer.stream(ticket)) as deltas:
            heard_at = time.perf_counter()
            async for _ in deltas:
                now = time.perf_counter()
                self.longest_s, heard_at = max(self.longest_s, now - heard_at), now
                async with self._fresh:
                    self._pieces += 1
                    self._fresh.notify_all()

    async def gets(self, pieces: int) -> None:
        """Wait for so many pieces more."""
        wanted = self._pieces + pieces
        async with asyncio.timeout(PATIENCE_S), self._fresh:
            await self._fresh.wait_for(lambda: self._pieces >= wanted)


def _request() -> dict[str, object]:
    return {
        "url": "/v1/chat/completions",
        "body": {"messages": [{"role": "user", "content": "Go on"}], "max_tokens": TOKENS},
    }
