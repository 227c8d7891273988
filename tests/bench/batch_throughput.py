"""Tokens a second of a batch on one spot consumer, against vLLM's own `run_batch`.

The same file of chat requests, model, flags and machine. Both sides start their engine afresh every
turn, so that neither finds a prefix cached, and only the generating is timed. Ours: from the first
publish to the arrival of the last result line, so queue, log and checkpoints are in it. Theirs:
from the first to the last state of its progress bar; it has read the file by then, and what comes
after, writing the results, does not count. Tokenizing is in both.
"""

import asyncio
import importlib.util
import os
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from pathlib import Path

import msgspec

from fleet.batch_file import bodies, survey
from fleet.batches import Batches, draft
from fleet.broker.connection import Message
from fleet.children import die_with_parent
from fleet.subjects import results_subject
from fleet.wire import decode_lines
from tests.bench.report import Figure, Options, at_least, median, ratio, say
from tests.bench.stage import TENANT, Stage, Stopwatch, end, stage
from tests.bench.vllm_sides import ENVIRONMENT, MODEL, batch_flags, consumer_flags

PATIENCE_S = 1800.0
SUBJECTS = ("a harbour at dawn", "the price of tin", "two brothers", "a clock", "heavy rain")
BAR = b"Running batch"


async def measure(options: Options) -> Sequence[Figure]:
    """Let both sides work on the file, in turns."""
    if importlib.util.find_spec("vllm") is None:
        return (Figure(name="vllm", value=0, unit="installed", note="`just setup` installs it"),)
    items = options.items or (16 if options.quick else 256)
    tokens = options.tokens or (16 if options.quick else 64)
    rounds = options.rounds or (1 if options.quick else 3)
    ours: list[float] = []
    theirs: list[float] = []
    async with stage(MODEL) as here:
        file = here.folder / "batch.jsonl"
        file.write_bytes(b"".join(map(_line, range(items), [tokens] * items)))
        for number in range(rounds):
            ours.append(items * tokens / await _ours(here, file, number, items))
            say(f"  ours: {ours[-1]:.1f} tokens/s")
            theirs.append(items * tokens / await _theirs(here, file, items))
            say(f"  run_batch: {theirs[-1]:.1f} tokens/s")
    return (
        at_least(0.98, ratio("ours_to_run_batch", ours, theirs)),
        median("ours", ours, "tokens/s"),
        median("run_batch", theirs, "tokens/s"),
    )


def _line(number: int, tokens: int) -> bytes:
    about = SUBJECTS[number % len(SUBJECTS)]
    content = f"Story {number}: write some sentences about {about}, and do not stop early."
    return msgspec.json.encode(
        {
            "custom_id": f"row-{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": MODEL,
                "messages": [{"role": "user", "content": content}],
                "max_tokens": tokens,
                "temperature": 0,
                "ignore_eos": True,
            },
        }
    ) + b"\n"  # fmt: skip


async def _ours(here: Stage, file: Path, number: int, items: int) -> float:
    """Return the seconds that a batch takes."""
    with file.open("rb") as opened:
        looked = survey(opened)
    plan = draft(
        looked, tenant=TENANT, model=MODEL, input_name=file.name, now=time.time(),
        batch=f"round-{number}",
    )  # fmt: skip
    batches = Batches(here.connection, tenant=TENANT)
    done = asyncio.Event()
    arrived = failed = 0

    def count(message: Message) -> None:
        nonlocal arrived, failed
        lines = decode_lines(message.payload)
        arrived += len(lines)
        failed += sum(line.error is not None for line in lines)
        if arrived >= items:
            done.set()

    consumer = here.consumer(
        f"spot-{number}", model=MODEL, arguments=consumer_flags(), environment=ENVIRONMENT
    )
    async with consumer, asyncio.timeout(PATIENCE_S):
        results = results_subject(TENANT, plan.id, "*")
        listening = await here.connection.subscribe(results, count)
        clock = Stopwatch()
        with file.open("rb") as opened:
            await batches.submit(plan, bodies(opened, looked))
        await done.wait()
        seconds = clock.s
        await listening.unsubscribe()
    if failed:
        raise RuntimeError(f"{failed} of {items} requests failed")
    return seconds


async def _theirs(here: Stage, file: Path, items: int) -> float:
    """Return the seconds between the first and the last state of the progress bar."""
    output = here.folder / "output.jsonl"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "vllm.entrypoints.openai.run_batch",
        "-i", file, "-o", output, *batch_flags(),
        stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, preexec_fn=die_with_parent,
        env={**os.environ, **ENVIRONMENT},
    )  # fmt: skip
    told = b""
    begun_at = ended_at = 0.0
    try:
        assert process.stderr
        async with asyncio.timeout(PATIENCE_S):
            while chunk := await process.stderr.read(4096):
                told += chunk
                if BAR in chunk:
                    ended_at = time.perf_counter()
                    begun_at = begun_at or ended_at
            await process.wait()
    finally:
        await end(process)
    lines = output.read_bytes().splitlines() if output.exists() else []
    if process.returncode or len(lines) != items:
        raise RuntimeError(f"run_batch failed:\n{told.decode(errors='replace')[-2000:]}")
    return ended_at - begun_at
