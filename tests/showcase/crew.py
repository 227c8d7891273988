"""Consumers as processes, each with a name, a zone and a price of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from fleet.children import die_with_parent

ROOT = Path(__file__).parents[2]
STOP_S = 30.0


class Member(NamedTuple):
    """One consumer. usd: its price an hour. rate: tokens a second of one request."""

    node: str
    zone: str
    usd: float
    instance_type: str
    model: str
    slots: int = 8
    rate: float = 30.0
    env: Mapping[str, str] = {}

    @property
    def capacity_type(self) -> str:
        """By its name."""
        return "spot" if self.node.startswith("spot") else "on-demand"


class Crew:
    """Starts, kills and finally ends consumers at one broker."""

    def __init__(self, nats: str, logs: Path) -> None:
        self._nats = nats
        self._logs = logs
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, member: Member) -> None:
        """Start one; it says by its heartbeats when it is ready."""
        command = [
            sys.executable, "-m", "consumers", member.capacity_type, "--engine", "scripted",
            "--model", member.model, "--node", member.node, "--zone", member.zone,
            "--price", str(member.usd), "--slots", str(member.slots),
            "--token-rate", str(member.rate),
        ]  # fmt: skip
        env = {
            **os.environ,
            "FLEET_CLOUD": "none",
            "FLEET_NATS": self._nats,
            "FLEET_INSTANCE_TYPE": member.instance_type,
            **member.env,
        }
        with (self._logs / f"{member.node}.log").open("ab") as log:
            self._processes[member.node] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, env=env,
                preexec_fn=die_with_parent,
            )  # fmt: skip

    def kill(self, node: str) -> None:
        """Let one vanish without a word."""
        self._processes[node].kill()
        self._processes[node].wait()

    def freeze(self, node: str) -> None:
        """Let one stand still: its leases and heartbeats run out."""
        self._processes[node].send_signal(signal.SIGSTOP)

    def thaw(self, node: str) -> None:
        """Let a frozen one go on."""
        self._processes[node].send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End all: what is recorded is recorded."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait(STOP_S)


@contextmanager
def crew(nats: str, logs: Path) -> Iterator[Crew]:
    """Have a crew; none of it is left afterwards."""
    mine = Crew(nats, logs)
    try:
        yield mine
    finally:
        mine.stop()
