"""What benchmarks play on: a broker with the production's settings, and consumer processes."""

import asyncio
import os
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from fleet.broker.connection import Connection, connect
from fleet.broker.context import find_target
from fleet.broker.nodes import Nodes
from fleet.broker.provision import provision
from fleet.broker.server import Server, serve
from fleet.children import die_with_parent
from fleet.job import CapacityType

READY_S = 180.0
STOP_S = 40.0
POLL_S = 0.05
COUNT_S = 0.02
TENANT = "bench"


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A broker that is up. folder: for files of the run; it vanishes with the stage."""

    server: Server
    connection: Connection
    folder: Path

    @asynccontextmanager
    async def consumer(
        self,
        node: str,
        *,
        model: str,
        capacity_type: CapacityType = "spot",
        arguments: Sequence[str] = ("--engine", "scripted"),
        environment: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Process]:
        """Run a consumer, ready when the body begins, and drain it when the body ends."""
        log = self.folder / f"{node}.log"
        with _output(log) as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "consumers", capacity_type, "--model", model,
                "--nats", self.server.url, "--node", node, *arguments,
                stdin=DEVNULL, stdout=file, stderr=file, preexec_fn=die_with_parent,
                env={**os.environ, **(environment or {})},
            )  # fmt: skip
        try:
            await self._ready(node, process, log)
            yield process
        finally:
            await end(process)

    async def messages(self, stream: str) -> int:
        """Count what a stream holds."""
        info = await self.connection.api(f"STREAM.INFO.{stream}")
        return int(info["state"]["messages"])

    async def holds(self, stream: str, count: int) -> None:
        """Wait until a stream holds so many messages."""
        while await self.messages(stream) != count:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(COUNT_S)

    async def _ready(self, node: str, process: Process, log: Path) -> None:
        nodes = Nodes(self.connection)
        async with asyncio.timeout(READY_S):
            while not any(n.node == node and n.state == "ready" for n in await nodes.list()):
                if process.returncode is not None:
                    raise RuntimeError(f"{node} ended before it was ready:\n{tail(log)}")
                await asyncio.sleep(POLL_S)


@asynccontextmanager
async def stage(*models: str) -> AsyncIterator[Stage]:
    """Bring a broker up, every acknowledged write of which is on disk."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="overbook-bench-")))
        server = await stack.enter_async_context(serve(folder / "nats"))
        target = find_target(server.url, {})
        connection = await stack.enter_async_context(connect(target, name="bench"))
        await provision(connection, models)
        yield Stage(server=server, connection=connection, folder=folder)


@asynccontextmanager
async def program(
    *command: str | Path, environment: Mapping[str, str] | None = None, log: Path | None = None
) -> AsyncIterator[Process]:
    """Run a program and end it with the body; what it prints goes to `log`, else into a pipe."""
    with _output(log) as file:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=file if log else PIPE, stderr=file if log else None,
            preexec_fn=die_with_parent, env={**os.environ, **(environment or {})},
        )  # fmt: skip
    try:
        yield process
    finally:
        await end(process)


def tail(log: Path) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


def _output(log: Path | None) -> BinaryIO:
    return Path(log or os.devnull).open("ab")


async def end(process: Process) -> None:
    """End a process that we started, by force if it does not go."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def s(self) -> float:
        """Read it."""
        return time.perf_counter() - self._began
