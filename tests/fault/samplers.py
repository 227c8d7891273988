"""Consumers whose tokens come from chance, so that an answer which was begun again differs."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.asking import MODEL
from tests.fleets import QUICK, ROOT, STOP_S

# The engine goes on from any ids; only which ones come is another matter.
SAMPLER = """
import random, sys
from consumers import scripted_engine
from consumers.command import command
from fleet.exits import run_command
scripted_engine.token = lambda prompt, index: 256 + random.randrange(16**6)
sys.exit(run_command(command, name="sampler"))
"""


class Samplers:
    """On-demand consumers by name; each of them has been killed, or drains at the end."""

    def __init__(self, folder: Path, nats: str, *, rate: float, env: Mapping[str, str]) -> None:
        self._folder = folder
        self._nats = nats
        self._rate = rate
        self._env = env
        self._stack = ExitStack()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *nodes: str) -> None:
        for node in nodes:
            with (self._folder / f"{node}.log").open("ab") as log:
                self.processes[node] = subprocess.Popen(
                    [
                        sys.executable, "-c", SAMPLER, "on-demand", "--model", MODEL,
                        "--engine", "scripted", "--nats", self._nats, "--node", node,
                        "--token-rate", str(self._rate),
                    ],
                    stderr=log, cwd=ROOT, env={**os.environ, **QUICK, **self._env},
                )  # fmt: skip

    def log(self) -> str:
        return "\n".join(file.read_text() for file in sorted(self._folder.glob("*.log")))

    def end(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise


@contextmanager
def samplers(
    folder: Path, nats: str, *nodes: str, rate: float, env: Mapping[str, str] | None = None
) -> Iterator[Samplers]:
    """Run consumers at a broker that is provisioned."""
    folder.mkdir(parents=True, exist_ok=True)
    running = Samplers(folder, nats, rate=rate, env=env or {})
    running.start(*nodes)
    try:
        yield running
    finally:
        running.end()
