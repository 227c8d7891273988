"""What checkpoints every 5 s cost of the throughput, against none but at the end.

Two consumers that differ in FLEET_CHECKPOINT_S alone take turns at the same load: a number of jobs
of 64 items at once, from the first publish to the last line. The other one idles meanwhile. With
the scripted engine, whose tokens come at a rate of 40 a second an item, whatever else the machine
does, the figure says whether checkpoints hold up the event loop; with `--engine vllm` it is about
throughput that checkpoints compete with for the processor.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack

from fleet.job import Tier
from fleet.producer import Producer
from tests.bench.report import Figure, Options, at_most, median, say
from tests.bench.stage import TENANT, Stage, Stopwatch, stage
from tests.bench.vllm_sides import ENVIRONMENT, consumer_flags

OFTEN, NEVER = "often", "never"
INTERVALS_S = {OFTEN: "5", NEVER: "86400"}
ITEMS = 64
RATE = 40


async def measure(options: Options) -> Sequence[Figure]:
    """Let both work on the same load, in turns."""
    # Real tokens on a processor come a hundred times slower than scripted ones.
    small = options.quick or options.engine == "vllm"
    rounds = options.rounds or (1 if options.quick else 3 if small else 5)
    jobs = options.jobs or (1 if small else 2)
    tokens = options.tokens or (240 if small else 800)
    rates: dict[str, list[float]] = {OFTEN: [], NEVER: []}
    async with stage(OFTEN, NEVER) as here, AsyncExitStack() as stack:
        for model, interval_s in INTERVALS_S.items():
            consumer = here.consumer(
                f"{model}-1", model=model, arguments=_arguments(options),
                environment={**ENVIRONMENT, "FLEET_CHECKPOINT_S": interval_s},
            )  # fmt: skip
            await stack.enter_async_context(consumer)
        for number in range(rounds):
            # The order alternates, too, so that a drift of the machine hits both alike.
            for model in (OFTEN, NEVER) if number % 2 else (NEVER, OFTEN):
                rates[model].append(await _turn(here, model, jobs, tokens, number))
                say(f"  {model}: {rates[model][-1]:.1f} tokens/s")
    costs = [(1 - often / never) * 100 for often, never in zip(*rates.values(), strict=True)]
    return (
        at_most(1, median("cost", costs, "%", "of tokens a second")),
        median("with_checkpoints", rates[OFTEN], "tokens/s"),
        median("without", rates[NEVER], "tokens/s"),
    )


async def _turn(here: Stage, model: str, jobs: int, tokens: int, number: int) -> float:
    producer = Producer(here.connection, tenant=TENANT)
    requests = [_job(f"{number}-{job}", tokens) for job in range(jobs)]
    clock = Stopwatch()
    if jobs == 1:
        tickets = [await producer.submit(requests[0], model=model, tier=Tier.BATCH)]
    else:
        tickets = await producer.submit_many(requests, model=model)
    made = 0
    for ticket in tickets:
        for line in await producer.result(ticket):
            made += (line.usage or {}).get("completion_tokens", 0)
    return made / clock.s


def _arguments(options: Options) -> Sequence[str]:
    if options.engine == "vllm":
        return consumer_flags()
    return ("--engine", "scripted", "--token-rate", str(RATE), "--slots", str(ITEMS))


def _job(name: str, tokens: int) -> dict[str, object]:
    return {
        "requests": [
            {
                "custom_id": f"row-{item}",
                "url": "/v1/completions",
                "body": {
                    "prompt": f"Job {name}, item {item}. Once upon a time",
                    "max_tokens": tokens,
                    "ignore_eos": True,
                    "temperature": 0,
                },
            }
            for item in range(ITEMS)
        ]
    }
