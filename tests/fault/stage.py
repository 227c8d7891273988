"""Where the campaign plays: a broker to be hurt, `fleet up` on it, and consumers beside it."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from fleet.children import die_with_parent
from tests.fleets import ROOT, RunningFleet, running_fleet
from tests.server import NatsServer, nats_server

NODES = 2
RATE = 60.0
SLOTS = 8
CHECKPOINT_S = 0.5
ACK_WAIT_S = 2.5
TIMES: Mapping[str, str] = {
    "FLEET_ACK_WAIT_S": str(ACK_WAIT_S),
    "FLEET_BEAT_S": "0.5",
    "FLEET_BEAT_TTL_S": "2",
    "FLEET_CHECKPOINT_S": str(CHECKPOINT_S),
    "FLEET_CHECKPOINT_ITEMS": "2",
}
SPEED = ("--token-rate", str(RATE), "--slots", str(SLOTS))
MONITOR = 'http: "127.0.0.1:-1"'
STOP_S = 20.0


class Stage:
    """One broker and one `fleet up --replace`, for many scenarios in a row."""

    def __init__(self, folder: Path, servers: ExitStack) -> None:
        self.folder = folder
        self._servers = servers
        self._server = self._start_server()
        self.fleet: RunningFleet
        self.extras: dict[str, subprocess.Popen[bytes]] = {}
        self._fds = 0

    @property
    def url(self) -> str:
        return self._server.url

    def open(self, fleet: RunningFleet) -> None:
        self.fleet = fleet
        self._fds = fds(fleet.process.pid)

    def kill_server(self) -> None:
        """Let the broker vanish without a word."""
        self._server.process.kill()
        self._server.process.wait()

    def start_server(self) -> None:
        """Bring it back with what it had stored, where it was."""
        self._server = self._start_server(self._server.port)

    def signal_server(self, number: signal.Signals) -> None:
        self._server.process.send_signal(number)

    def start(
        self, name: str, *, faults: str = "", url: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Start one more consumer beside the fleet."""
        command = [sys.executable, "-m", "consumers", "spot", "--model", "smollm2"]
        command += ["--engine", "scripted", "--node", name, *SPEED]
        more = {"FLEET_FAULTS": faults, "FLEET_NATS": url or self.url, "FLEET_CLOUD": "none"}
        with (self.folder / f"{name}.log").open("ab") as log:
            self.extras[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT,
                env={**os.environ, **TIMES, **more, **(env or {})}, preexec_fn=die_with_parent,
            )  # fmt: skip

    def pid(self, node: str) -> int:
        extra = self.extras.get(node)
        return extra.pid if extra else self.fleet.nodes[node]

    def send(self, node: str, number: signal.Signals) -> bool:
        """Send a signal; False if the node is gone."""
        if not self.alive(node):
            return False
        os.kill(self.pid(node), number)
        return True

    def alive(self, node: str) -> bool:
        extra = self.extras.get(node)
        return extra.poll() is None if extra else node not in self.fleet.gone()

    def ended(self, node: str) -> int | None:
        """Return how an extra consumer's process ended, None while it runs."""
        return self.extras[node].poll()

    def is_stopped(self, node: str) -> bool:
        """Whether a process is frozen."""
        try:
            stat = Path(f"/proc/{self.pid(node)}/stat").read_text()
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[0] == "T"

    def clear(self) -> list[str]:
        """End the extra consumers; return those that had to be killed."""
        for process in self.extras.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        stubborn = []
        for name, process in self.extras.items():
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                stubborn.append(name)
        self.extras.clear()
        return stubborn

    def connections(self) -> list[str]:
        """Name the clients that the broker has."""
        ports = self.folder / "nats" / f"nats-server_{self._server.process.pid}.ports"
        (monitor,) = json.loads(ports.read_text())["monitoring"]
        with urllib.request.urlopen(f"{monitor}/connz", timeout=10) as answer:
            told: dict[str, Any] = json.load(answer)
        return [connection.get("name", "") for connection in told["connections"]]

    def leaked_fds(self) -> int:
        """How many more files `fleet up` has open than at the start, beyond a few."""
        return max(0, fds(self.fleet.process.pid) - self._fds - 16)

    def _start_server(self, port: int | None = None) -> NatsServer:
        server = nats_server(self.folder / "nats", port=port, config=MONITOR)
        return self._servers.enter_context(server)


def fds(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Set the stage; at the end nothing of it may be left."""
    with ExitStack() as servers:
        it = Stage(folder, servers)
        flags = ("--nats", it.url, "--on-demand", "0", "--spot", str(NODES), "--replace", *SPEED)
        with running_fleet(folder / "fleet", *flags, env=TIMES) as fleet:
            it.open(fleet)
            try:
                yield it
            finally:
                it.clear()
