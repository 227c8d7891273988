"""What a job and a node weigh at the broker: bytes that are kept, messages and bytes that pass.

An idle node is the difference between many and one, over some seconds. A job has eight requests of
some 1 KiB and answers of 64 tokens, made in some six seconds: first it waits, then a spot consumer
answers it and saves it once on the way. Writes are synced, 64 of 2 KiB at a time.
"""

import asyncio
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Final

import msgspec

from fleet.job import Tier
from fleet.producer import Producer
from fleet.subjects import CLAIMS, EVENTS, NODES, RESULTS, job_stream
from fleet.topology import bucket_stream
from tests.bench.report import Figure, Options, say
from tests.bench.stage import TENANT, Stage, Stopwatch, stage

MODEL: Final = "smollm2"
QUEUE: Final = job_stream(Tier.BATCH)
REQUESTS: Final = 8
PROMPT: Final = "All the world's a stage, and all the men and women merely players. " * 14
KEPT: Final = (RESULTS, EVENTS, bucket_stream(CLAIMS), bucket_stream(NODES))
SLOW: Final = ("--engine", "scripted", "--token-rate", "10", "--slots", "256")
IDLE_S: Final = 20.0
SETTLE_S: Final = 5.0
LOOK_S: Final = 1.0
WRITERS: Final = 64
WRITE_S: Final = 5.0


class Passed(msgspec.Struct, frozen=True):
    """What a server has seen since it began, as `/varz` tells it."""

    in_msgs: int
    out_msgs: int
    in_bytes: int
    out_bytes: int

    def since(self, before: "Passed") -> Mapping[str, int]:
        """Return the differences."""
        return {
            name: getattr(self, name) - getattr(before, name) for name in self.__struct_fields__
        }


class State(msgspec.Struct, frozen=True):
    """What a stream holds, and how many messages it ever took."""

    messages: int
    bytes: int
    last_seq: int


async def measure(options: Options) -> Sequence[Figure]:
    """Weigh idle nodes first, then jobs."""
    nodes = options.nodes or (2 if options.quick else 6)
    jobs = options.jobs or (40 if options.quick else 300)
    async with stage(MODEL) as there, AsyncExitStack() as consumers:
        await consumers.enter_async_context(there.consumer("first", model=MODEL, arguments=SLOW))
        one = await _idle(there)
        for number in range(1, nodes):
            node = there.consumer(f"node-{number}", model=MODEL, arguments=SLOW)
            await consumers.enter_async_context(node)
        many = await _idle(there)
    figures = [
        Figure(
            name=f"idle_node_{name}",
            value=round((many[name] - one[name]) / (nodes - 1) / IDLE_S, 2),
            unit="bytes/s" if name.endswith("bytes") else "1/s",
            note=f"{nodes} nodes against one",
        )
        for name in one
    ]
    return [*figures, *await _jobs(jobs), await _writes()]


async def _idle(there: Stage) -> Mapping[str, int]:
    await asyncio.sleep(SETTLE_S)
    before, beats = await _passed(there), await _state(there, bucket_stream(NODES))
    await asyncio.sleep(IDLE_S)
    after, more = await _passed(there), await _state(there, bucket_stream(NODES))
    return {**after.since(before), "writes": more.last_seq - beats.last_seq}


async def _jobs(count: int) -> Sequence[Figure]:
    async with stage(MODEL) as there:
        producer = Producer(there.connection, tenant=TENANT)
        tickets = await producer.submit_many([_job(n) for n in range(count)], model=MODEL)
        waiting = await _state(there, QUEUE)
        before = {name: await _state(there, name) for name in KEPT}
        began = await _passed(there)
        async with there.consumer("spot", model=MODEL, arguments=SLOW):
            say(f"  {count} jobs")
            claims: list[State] = []
            while (await _state(there, QUEUE)).messages:
                claims.append(await _state(there, KEPT[2]))
                await asyncio.sleep(LOOK_S)
            passed = (await _passed(there)).since(began)
        await producer.result(tickets[-1])
        after = {name: await _state(there, name) for name in KEPT}
    claim = max(state.bytes / max(1, state.messages) for state in claims)
    return [
        Figure(
            name="claim",
            value=round(claim),
            unit="bytes",
            note=f"{REQUESTS} prompts of {len(PROMPT)} tokens, and what is made of the answers",
        ),
        _each("queued", waiting.bytes, count, "bytes", f"{REQUESTS} requests of 1 KiB"),
        *(
            _each(f"kept_{name}", after[name].bytes - before[name].bytes, count, "bytes")
            for name in KEPT[:2]
        ),
        *(
            _each(f"writes_{name}", after[name].last_seq - before[name].last_seq, count, "writes")
            for name in KEPT[:3]
        ),
        *(
            _each(name, value, count, "bytes" if name.endswith("bytes") else "messages")
            for name, value in passed.items()
        ),
    ]


async def _writes() -> Figure:
    """Append to logs as consumers do, each of its own."""
    body, done = b"x" * 2048, 0

    async def writer(number: int) -> None:
        nonlocal done
        while watch.s < WRITE_S:
            await there.connection.append(f"results.{TENANT}._.job-{number}", body)
            done += 1

    async with stage(MODEL) as there:
        watch = Stopwatch()
        async with asyncio.TaskGroup() as group:
            for number in range(WRITERS):
                group.create_task(writer(number))
        return Figure(name="synced_writes", value=round(done / watch.s), unit="1/s")


def _each(name: str, total: float, count: int, unit: str, note: str = "") -> Figure:
    return Figure(name=f"job_{name}", value=round(total / count, 2), unit=f"{unit}/job", note=note)


def _job(number: int) -> bytes:
    line = {
        "url": "/v1/chat/completions",
        "body": {"messages": [{"role": "user", "content": f"{PROMPT}{number}"}], "max_tokens": 64},
    }
    return msgspec.json.encode({"requests": [line] * REQUESTS})


async def _passed(there: Stage) -> Passed:
    def read() -> bytes:
        with urllib.request.urlopen(f"{there.server.monitor}/varz", timeout=10) as answer:
            return bytes(answer.read())

    return msgspec.json.decode(await asyncio.to_thread(read), type=Passed)


async def _state(there: Stage, stream: str) -> State:
    info = await there.connection.api(f"STREAM.INFO.{stream}")
    return msgspec.convert(info["state"], State)
