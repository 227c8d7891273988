"""What the fleet adds to the time to the first token of a real-time request, when it is idle.

In turns: the engine called in this process (render and generate), a client that listens on the
token stream and publishes (`wire`), and the Python client's `submit` and `stream` (`producer`). A
figure is the difference of that percentile and the same one of the engine alone.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

import msgspec

from consumers.command import start_engine
from consumers.engine import Engine, Rendered, Sampling
from fleet.job import Item, Tier, TokenDelta
from fleet.producer import Producer
from fleet.subjects import job_subject, tokens_subject
from fleet.wire import decode_item, job_headers
from tests.bench.report import Figure, Options, at_most, percentile, say
from tests.bench.stage import TENANT, Stage, Stopwatch, stage

MODEL = "smollm2"
TOKENS = 2
P50_S, P99_S = 0.003, 0.015
WARM_UP = 10
SLOTS = 8
Ask = Callable[[], Awaitable[float]]


async def measure(options: Options) -> Sequence[Figure]:
    """Ask each way so often, one request at a time."""
    rounds = options.items or (30 if options.quick else 300)
    arguments = ("--engine", options.engine, "--slots", str(SLOTS))
    async with stage(MODEL) as here, _engine(options) as engine:
        online = here.consumer(
            "node-1", model=MODEL, capacity_type="on-demand", arguments=arguments
        )
        async with online:
            producer = Producer(here.connection, tenant=TENANT)
            ways: dict[str, Ask] = {
                "engine": lambda: _direct(engine),
                "wire": lambda: _wire(here, producer),
                "producer": lambda: _producer(producer),
            }
            seconds: dict[str, list[float]] = {way: [] for way in ways}
            for number in range(WARM_UP + rounds):
                for way, ask in ways.items():
                    taken_s = await ask()
                    if number >= WARM_UP:
                        seconds[way].append(taken_s)
            say(f"  {rounds} requests each way")
    return _figures(seconds)


def _figures(seconds: dict[str, list[float]]) -> list[Figure]:
    figures: list[Figure] = []
    for percent, bound_s in ((50, P50_S), (99, P99_S)):
        alone_s = percentile(seconds["engine"], percent)
        for way in ("wire", "producer"):
            added_ms = (percentile(seconds[way], percent) - alone_s) * 1000
            figure = Figure(name=f"added_p{percent}_{way}", value=round(added_ms, 3), unit="ms")
            figures.append(at_most(bound_s * 1000, figure))
        value = round(alone_s * 1000, 3)
        figures.append(Figure(name=f"engine_p{percent}", value=value, unit="ms"))
    return figures


def _engine(options: Options) -> AbstractAsyncContextManager[Engine]:
    """Start an engine here that equals the consumer's."""
    given: dict[str, Any] = dict.fromkeys(
        ("model_path", "dtype", "max_model_len", "kv_cache", "task")
    )
    given |= {
        "engine": options.engine, "slots": SLOTS, "token_rate": 0.0, "device": "auto",
        "tensor_parallel_size": 1, "engine_arg": (),
    }  # fmt: skip
    return start_engine(MODEL, given)


def _request() -> dict[str, object]:
    # The prompt is another one each time: a cached prefix would be a different measurement.
    return {
        "custom_id": "row-0",
        "url": "/v1/chat/completions",
        "body": {
            "messages": [{"role": "user", "content": f"Tell me of {secrets.token_hex(16)}"}],
            "max_tokens": TOKENS,
            "temperature": 0,
            "ignore_eos": True,
        },
    }


async def _direct(engine: Engine) -> float:
    item = decode_item(msgspec.json.encode(_request()), index=0)
    if not isinstance(item, Item):
        raise TypeError(f"the request is bad: {item.error.message}")
    clock = Stopwatch()
    (rendered,) = await engine.render([item])
    if not isinstance(rendered, Rendered):
        raise rendered
    first_s = 0.0
    sampling = Sampling(max_tokens=TOKENS, temperature=0.0, ignore_eos=True)
    steps = engine.generate(
        rendered.prompts[0], sampling, request_id=secrets.token_hex(8), priority=0
    )
    async with aclosing(steps):
        async for _ in steps:
            first_s = first_s or clock.s
    return first_s


async def _wire(here: Stage, producer: Producer) -> float:
    """Publish as any NATS client would."""
    job, payload = secrets.token_hex(16), msgspec.json.encode(_request())
    subject, headers = job_subject(Tier.REALTIME, MODEL, TENANT), job_headers(TENANT, job)
    first: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()
    clock = Stopwatch()

    def receive(message: Any) -> None:
        if not first.done():
            first.set_result(clock.s)
        if msgspec.json.decode(message.payload, type=TokenDelta).finish_reason:
            done.set()

    listening = await here.connection.subscribe(tokens_subject(TENANT, None, job), receive)
    clock = Stopwatch()
    await here.connection.append(subject, payload, headers=headers)
    await done.wait()
    await listening.unsubscribe()
    return await first


async def _producer(producer: Producer) -> float:
    clock = Stopwatch()
    ticket = await producer.submit(_request(), model=MODEL)
    first_s = 0.0
    async with aclosing(producer.stream(ticket)) as deltas:
        async for _ in deltas:
            first_s = first_s or clock.s
    return first_s
