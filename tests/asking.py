"""Asking a fleet the plain way: publish to JetStream, and read what is stored."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec

from consumers.scripted_engine import answer
from fleet.broker.connection import Connection, Receipt
from fleet.broker.dead import DeadLetter, DeadLetters
from fleet.broker.eventlog import EventLog
from fleet.broker.results import ResultLog
from fleet.events import AnyEvent
from fleet.job import ResultLine

MODEL = "smollm2"
BOUND_S = 60.0
POLL_S = 0.05

T = TypeVar("T")


def chat(content: str, tokens: int = 4, **more: object) -> dict[str, Any]:
    """A request with one user message."""
    body = {"messages": [{"role": "user", "content": content}], "max_tokens": tokens, **more}
    return {"url": "/v1/chat/completions", "body": body}


def chunk(requests: Sequence[object]) -> dict[str, Any]:
    """A job of several requests."""
    return {"requests": list(requests)}


def answer_to(content: str, tokens: int = 4) -> str:
    """What the scripted engine answers to `chat(content, tokens)`."""
    return answer(f"user: {content}", tokens)


def text_of(line: ResultLine) -> str:
    """The text of a chat's only choice."""
    assert line.response is not None, line.error
    return str(line.response.body["choices"][0]["message"]["content"])


async def eventually(
    look: Callable[[], Awaitable[T | None]], what: str, *, bound_s: float = BOUND_S
) -> T:
    """Look until there is something; fail after `bound_s` seconds."""
    give_up = time.monotonic() + bound_s
    while True:
        if found := await look():
            return found
        assert time.monotonic() < give_up, f"waited {bound_s:.0f} s in vain for {what}"
        await asyncio.sleep(POLL_S)


class Asker:
    """One tenant's view of a fleet."""

    def __init__(self, connection: Connection, tenant: str, *, model: str = MODEL) -> None:
        self.connection = connection
        self.tenant = tenant
        self._model = model
        self._log = ResultLog(connection)

    async def publish(
        self,
        tier: str,
        body: object,
        *,
        headers: dict[str, str] | None = None,
        model: str | None = None,
    ) -> Receipt:
        """Publish a job; body: bytes as they are, or what is to be JSON."""
        payload = body if isinstance(body, bytes) else msgspec.json.encode(body)
        subject = f"jobs.{tier}.{model or self._model}.{self.tenant}"
        return await self.connection.append(subject, payload, headers=headers)

    async def ask(self, tier: str, body: object, **options: Any) -> list[ResultLine]:
        """Publish a job without an id and wait for its lines."""
        receipt = await self.publish(tier, body, **options)
        return await self.lines(f"{receipt.stream}-{receipt.sequence}")

    async def raw_lines(self, job: str, batch: str | None = None) -> list[ResultLine]:
        """Read each line that is in a job's log, doubles too."""
        messages = self._log.follow(self.tenant, batch, job=job)
        return [line async for message in messages for line in message.lines]

    async def lines(
        self, job: str, batch: str | None = None, *, bound_s: float = BOUND_S
    ) -> list[ResultLine]:
        """Wait until a job is complete; return its lines in order, each of them once."""

        async def look() -> list[ResultLine] | None:
            lines = await self.raw_lines(job, batch)
            return lines if lines and len(lines) >= lines[0].fleet.items else None

        lines = await eventually(look, f"the lines of {job}", bound_s=bound_s)
        lines.sort(key=lambda line: line.fleet.item)
        assert [line.fleet.item for line in lines] == list(range(lines[0].fleet.items))
        return lines

    async def some_lines(self, job: str, batch: str | None = None) -> list[ResultLine]:
        """Wait until a job has its first lines."""

        async def look() -> list[ResultLine] | None:
            return await self.raw_lines(job, batch) or None

        return await eventually(look, f"the first lines of {job}")

    async def dead_letter(self, job: str) -> DeadLetter:
        """Wait for the dead letter of a job of this tenant."""

        async def look() -> DeadLetter | None:
            letters = await DeadLetters(self.connection).list(limit=1000)
            mine = (one for one in letters if (one.tenant, one.job) == (self.tenant, job))
            return next(mine, None)

        return await eventually(look, f"the dead letter of {job}")


async def events_of(connection: Connection, kind: type[T], **fields: object) -> list[T]:
    """Read the events of one kind whose fields have these values."""
    recorded = EventLog(connection).read()
    found: list[AnyEvent] = [one.event async for one in recorded]
    return [
        event
        for event in found
        if isinstance(event, kind)
        and all(getattr(event, name) == value for name, value in fields.items())
    ]


async def event_of(
    connection: Connection, kind: type[T], *, bound_s: float = BOUND_S, **fields: object
) -> T:
    """Wait for the first such event."""

    async def look() -> T | None:
        found = await events_of(connection, kind, **fields)
        return found[0] if found else None

    return await eventually(look, f"{kind.__name__} {fields}", bound_s=bound_s)
