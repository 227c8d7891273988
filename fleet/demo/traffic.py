"""The traffic beside the batch: somebody asks in real time, and a background job now and then."""

import asyncio
import itertools

import msgspec

from fleet.broker.connection import Connection
from fleet.job import ResultLine, Tier
from fleet.producer import Producer

TENANT = "demo"
REALTIME_EVERY_S = 2.0
BACKGROUND_EVERY_S = 3.0
QUESTIONS = (
    "Name a colour.",
    "What is two plus two?",
    "Say good morning in Spanish.",
    "Name a river in Europe.",
    "What do bees make?",
)


class Traffic:
    """Asks until it is told to stop; every answer is kept."""

    def __init__(self, connection: Connection, *, model: str) -> None:
        self._producer = Producer(connection, tenant=TENANT)
        self._model = model
        self._stop = asyncio.Event()
        self.answers: dict[Tier, list[ResultLine]] = {Tier.REALTIME: [], Tier.BACKGROUND: []}

    def stop(self) -> None:
        """Ask nothing more; what was asked is still waited for."""
        self._stop.set()

    async def run(self) -> None:
        """Ask in both tiers until stopped."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ask(Tier.REALTIME, REALTIME_EVERY_S))
            group.create_task(self._ask(Tier.BACKGROUND, BACKGROUND_EVERY_S))

    async def ask(self, body: bytes, tier: Tier) -> tuple[ResultLine, ...]:
        """Ask once and wait for the answer."""
        ticket = await self._producer.submit(body, model=self._model, tier=tier)
        return await self._producer.result(ticket)

    async def _ask(self, tier: Tier, every_s: float) -> None:
        for question in itertools.cycle(QUESTIONS):
            if self._stop.is_set():
                return
            self.answers[tier] += await self.ask(chat(question, max_tokens=12), tier)
            try:
                async with asyncio.timeout(every_s):
                    await self._stop.wait()
            except TimeoutError:
                continue


def chat(question: str, *, max_tokens: int) -> bytes:
    """Write a greedy request with one user message."""
    messages = [{"role": "user", "content": question}]
    body = {"messages": messages, "temperature": 0, "max_tokens": max_tokens}
    return msgspec.json.encode({"url": "/v1/chat/completions", "body": body})
