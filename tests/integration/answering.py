"""A consumer of a few lines: it answers jobs with their own prompts, and none twice."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import msgspec

from fleet.body import ChatBody, EmbeddingBody
from fleet.broker.connection import Connection, Message
from fleet.broker.kv import Bucket
from fleet.broker.provision import provision
from fleet.broker.results import ResultLog
from fleet.broker.tokens import TokenStream
from fleet.errors import LeaseLost
from fleet.job import (
    BadItem,
    FleetInfo,
    Item,
    Job,
    Response,
    ResultLine,
    Tier,
    TokenDelta,
    WireError,
)
from fleet.manifest import Manifest
from fleet.subjects import BATCHES, batch_key, durable, job_stream
from fleet.wire import decode_envelope, decode_job

FAIL = "please fail"
PIECES = 4
BOUND_S = 30.0

Lines = Callable[[Job], list[ResultLine]]


class Answerer:
    """What the consumer did. gate: it takes no job while this is not set. idle: it holds none."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.idle = asyncio.Event()
        self.idle.set()
        self.answered: list[str] = []
        self.refused: list[str] = []


def prompt_of(item: Item) -> str:
    """The text of a request, which is its answer too."""
    match item.body:
        case ChatBody(messages=messages):
            return str(messages[-1].content)
        case EmbeddingBody(inputs=inputs):
            return inputs[0]
        case body:
            return body.texts[0]


def answer_to(job: Job, item: Item | BadItem, *, error: WireError | None = None) -> ResultLine:
    """Make the line of one item; one that asks for it fails."""
    info = FleetInfo(
        job=job.id, item=item.index, items=len(job.items), node="n", capacity_type="spot"
    )
    name = f"{job.id}-{item.index}"
    if isinstance(item, BadItem):
        error = item.error
    elif FAIL in prompt_of(item):
        error = WireError("engine_refused", "as you asked")
    if error is not None or isinstance(item, BadItem):
        return ResultLine(id=name, custom_id=item.custom_id, error=error, fleet=info)
    text = prompt_of(item)
    body: dict[str, object] = {
        "choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]
    }
    if isinstance(item.body, EmbeddingBody):
        body = {"object": "list", "data": [{"index": 0, "embedding": [0.5, float(len(text))]}]}
    return ResultLine(
        id=name,
        custom_id=item.custom_id,
        response=Response(status_code=200, request_id=name, body=body),
        usage={"prompt_tokens": 2, "completion_tokens": 3},
        fleet=info,
    )


def lines_backwards(job: Job) -> list[ResultLine]:
    """Finish the last item first: results come in any order."""
    return [answer_to(job, item) for item in reversed(job.items)]


def pieces_of(job: Job, item: Item) -> Iterator[TokenDelta]:
    """Cut an answer into deltas, one token each."""
    text = prompt_of(item)
    step = max(1, -(-len(text) // PIECES))
    for number, start in enumerate(range(0, len(text), step)):
        yield TokenDelta(
            item=item.index,
            offset=number,
            text=text[start : start + step],
            text_offset=start,
            token_ids=(number,),
            finish_reason="stop" if start + step >= len(text) else None,
        )


@asynccontextmanager
async def answering(
    connection: Connection,
    model: str,
    *,
    tier: Tier = Tier.BATCH,
    lines: Lines = lines_backwards,
    is_open: bool = True,
) -> AsyncIterator[Answerer]:
    """Run the consumer of one (tier, model) beside the test."""
    await provision(connection, [model])
    answerer = Answerer()
    if not is_open:
        answerer.gate.clear()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_consume(connection, model, tier, lines, answerer))
        yield answerer
        # Its answer is seen before it has settled the job.
        async with asyncio.timeout(BOUND_S):
            await answerer.idle.wait()
        task.cancel()


async def _consume(
    connection: Connection, model: str, tier: Tier, lines: Lines, answerer: Answerer
) -> None:
    stream = job_stream(tier)
    subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable(tier, model)}"
    pull = msgspec.json.encode({"batch": 1, "expires": 1_000_000_000})
    inbox = connection.new_inbox()
    arrived: asyncio.Queue[Message] = asyncio.Queue()
    subscription = await connection.subscribe(inbox, arrived.put_nowait)
    try:
        while True:
            await answerer.gate.wait()
            await connection.publish(subject, pull, reply=inbox)
            delivery = await arrived.get()
            if delivery.status is None:
                envelope = decode_envelope(
                    delivery.subject, delivery.headers, stream=stream, sequence=0
                )
                job = decode_job(envelope, delivery.payload)
                answerer.idle.clear()
                await _answer(connection, job, lines, answerer)
                await connection.publish(delivery.reply, b"+ACK")
                answerer.idle.set()
    finally:
        await subscription.unsubscribe()


async def _answer(connection: Connection, job: Job, lines: Lines, answerer: Answerer) -> None:
    log = ResultLog(connection)
    state = await log.read(job.tenant, job.batch, job.id)
    if state.complete:
        answerer.refused.append(job.id)
        return
    if job.batch is not None:
        entry = await Bucket(connection, BATCHES, Manifest).get(batch_key(job.tenant, job.batch))
        if entry is not None and entry.value.is_cancelled:
            error = WireError("cancelled", "the batch was cancelled by its owner")
            lines = lambda job: [answer_to(job, item, error=error) for item in job.items]  # noqa: E731
    if job.tier is Tier.REALTIME:
        teller = TokenStream(connection).teller(
            job.tenant, job.batch, job.id, writer=secrets.token_hex(4)
        )
        await teller.take_over(node="n")
        for item in job.items:
            if answer_to(job, item).error is None and isinstance(item, Item):
                for delta in pieces_of(job, item):
                    await teller.tell(delta)
    # Noted before anybody can see it.
    answerer.answered.append(job.id)
    try:
        await log.append(
            job.tenant,
            job.batch,
            job.id,
            lines(job),
            last=state.sequence,
            sha256=job.sha256,
            writer=secrets.token_hex(4),
        )
    except LeaseLost:
        answerer.answered.remove(job.id)
        answerer.refused.append(job.id)
