"""Jobs of one token, as fast as queue and consumer go: from the first publish to the last settled.

The same 1 KiB jobs in turns through Overbook, bare JetStream (`raw`), taskiq-nats and FastStream:
one server that syncs every write, one producer process and one consumer process a side, uvloop, 64
jobs in hand. All write one result a job to a stream; Overbook and `raw` guard it and wait for the
server's word after the acknowledgement, the other two do not. `cpu_us` is the consumer's processor
time a job, which a busy machine disturbs less than the rates.
"""

import asyncio
import sys
from asyncio.subprocess import Process
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import msgspec

from tests.bench.peers import ours, raw
from tests.bench.peers.environment import NotInstalled, peers_python
from tests.bench.peers.load import SLOTS, names
from tests.bench.report import ROOT, Figure, Options, at_least, median, ratio, say
from tests.bench.stage import Stage, Stopwatch, cpu_s, program, stage

PATIENCE_S = 300.0
START_S = 3.0
PEERS = ("taskiq", "faststream")


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One way to do the work. producer: its command. worker: the process that does the jobs."""

    name: str
    producer: tuple[str, ...]
    worker: int
    jobs_stream: str = "JOBS_BATCH"
    results_stream: str = "RESULTS"


class Run(msgspec.Struct, frozen=True):
    """What one turn of one side gave."""

    jobs_per_s: float
    cpu_us: float


async def measure(options: Options) -> Sequence[Figure]:
    """Give each side its turns."""
    jobs = options.jobs or (2_000 if options.quick else 20_000)
    rounds = options.rounds or (1 if options.quick else 5)
    notes: list[str] = []
    async with stage(ours.MODEL, raw.MODEL) as here, AsyncExitStack() as stack:
        sides = await _sides(here, stack, notes)
        runs: dict[str, list[Run]] = {side.name: [] for side in sides}
        for number in range(rounds + 1):
            for side in sides:
                say(f"  {side.name} ...")
                # The first turn is for warming up.
                run = await _turn(here, side, jobs if number else min(jobs, 1_000))
                if number:
                    runs[side.name].append(run)
                    say(f"  {side.name}: {run.jobs_per_s:.0f} jobs/s, {run.cpu_us:.0f} us a job")
    return _figures(runs, notes)


def _figures(runs: dict[str, list[Run]], notes: Sequence[str]) -> list[Figure]:
    rates = {name: [run.jobs_per_s for run in turns] for name, turns in runs.items()}
    figures = [at_least(0.7, ratio("ours_to_raw", rates["ours"], rates["raw"]))]
    others = [name for name in PEERS if name in rates]
    if others:
        best = [max(turn) for turn in zip(*(rates[name] for name in others), strict=True)]
        figures.append(at_least(3, ratio("ours_to_better_peer", rates["ours"], best)))
    else:
        figures.append(Figure(name="peers", value=0, unit="installed", note="; ".join(notes)))
    for name, turns in runs.items():
        figures.append(median(f"{name}_rate", rates[name], "jobs/s"))
        figures.append(median(f"{name}_cpu", [run.cpu_us for run in turns], "us/job"))
    return figures


async def _sides(here: Stage, stack: AsyncExitStack, notes: list[str]) -> list[Side]:
    url, python = here.server.url, sys.executable
    consumer = here.consumer(
        "null-1", model=ours.MODEL,
        arguments=("--engine", "scripted", "--slots", str(SLOTS)),
    )  # fmt: skip
    worker = await stack.enter_async_context(consumer)
    bare = await stack.enter_async_context(_worker(here, python, "raw"))
    sides = [
        Side(name="ours", producer=(python, "-m", ours.__name__, "producer", url),
             worker=worker.pid),
        Side(name="raw", producer=(python, "-m", raw.__name__, "producer", url), worker=bare.pid),
    ]  # fmt: skip
    try:
        other = str(await peers_python())
    except NotInstalled as error:
        notes.append(f"taskiq-nats and FastStream could not be installed: {error}")
        return sides
    for name in PEERS:
        await _peer_streams(here, name)
        process = await stack.enter_async_context(_worker(here, other, f"{name}_app"))
        # Time to start: it says nothing when it is ready.
        await asyncio.sleep(START_S)
        module = f"tests.bench.peers.{name}_app"
        sides.append(
            Side(
                name=name, producer=(other, "-m", module, "producer", url),
                worker=_working(process), jobs_stream=names(name).jobs_stream,
                results_stream=names(name).results_stream,
            )
        )  # fmt: skip
    return sides


def _worker(here: Stage, python: str, name: str) -> AbstractAsyncContextManager[Process]:
    url, module = here.server.url, f"tests.bench.peers.{name}"
    environment = {"PYTHONPATH": str(ROOT), "BENCH_NATS": url}
    command: tuple[str, ...] = (python, "-m", module, "worker", url)
    if name == "taskiq_app":
        command = (
            python, "-m", "taskiq", "worker", f"{module}:broker", "--workers", "1",
            "--max-async-tasks", str(SLOTS), "--log-level", "WARNING",
        )  # fmt: skip
    return program(*command, environment=environment, log=here.folder / f"{name}.log")


def _working(process: Process) -> int:
    """Return the process that works: taskiq starts one for that."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(max(children, key=lambda pid: cpu_s(int(pid)), default=process.pid))


async def _peer_streams(here: Stage, side: str) -> None:
    own = names(side)
    for name, subject, retention in (
        (own.jobs_stream, own.jobs, "workqueue"),
        (own.results_stream, own.results, "limits"),
    ):
        config = {"name": name, "subjects": [subject], "retention": retention, "storage": "file"}
        await here.connection.api(f"STREAM.CREATE.{name}", config)


async def _turn(here: Stage, side: Side, jobs: int) -> Run:
    environment = {"PYTHONPATH": str(ROOT), "BENCH_NATS": here.server.url}
    async with program(*side.producer, str(jobs), environment=environment) as producer:
        assert producer.stdin
        assert producer.stdout
        await producer.stdout.readline()
        before = await here.messages(side.results_stream)
        used_s = cpu_s(side.worker)
        clock = Stopwatch()
        producer.stdin.write(b"go\n")
        async with asyncio.timeout(PATIENCE_S):
            if not await producer.stdout.readline():
                raise RuntimeError(f"the producer of {side.name} failed; it says why above")
            await here.holds(side.results_stream, before + jobs)
            await here.holds(side.jobs_stream, 0)
        run = Run(jobs / clock.s, (cpu_s(side.worker) - used_s) / jobs * 1e6)
        await producer.wait()
    return run
