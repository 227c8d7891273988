"""Real fleets for the tests: `fleet up` as a process, its broker, and its consumers."""

import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from fleet.children import die_with_parent
from tests.leftovers import MARK, end_all

READY_S = 90.0
STOP_S = 45.0
# Times that fit a test: a lost node is missed after three seconds.
QUICK: Mapping[str, str] = {
    "FLEET_ACK_WAIT_S": "3",
    "FLEET_BEAT_S": "0.5",
    "FLEET_BEAT_TTL_S": "2",
    "FLEET_CHECKPOINT_S": "0.5",
}
ROOT = Path(__file__).parents[1]


class RunningFleet:
    """A fleet that is up. nodes: name to pid of every consumer that was ever started."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.nodes: dict[str, int] = {}
        self.nats = ""
        self._ended: set[str] = set()
        self._said: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=[process.stdout])
        self._reader.start()

    def next_event(
        self, name: str, *, node: str | None = None, bound_s: float = 60.0
    ) -> dict[str, Any]:
        """Wait for the next line on stdout with this `event`; others before it are dropped.

        node: the consumer that it has to be about.
        """
        while True:
            try:
                said = self._said.get(timeout=bound_s)
            except queue.Empty:
                raise AssertionError(f"no {name!r} came; the fleet said:\n{self.log()}") from None
            if said["event"] == name and (node is None or said["node"] == node):
                return said
            assert said["event"] != "eof", f"the fleet ended before {name!r}:\n{self.log()}"

    def of(self, capacity_type: str) -> list[str]:
        """Name the consumers of one capacity type, oldest first."""
        return [name for name in list(self.nodes) if name.startswith(capacity_type)]

    def send(self, node: str, number: signal.Signals) -> None:
        """Send a signal to a consumer."""
        os.kill(self.nodes[node], number)

    def gone(self) -> list[str]:
        """Name the consumers whose process has ended."""
        # A copy: the thread that reads what the fleet says adds to it.
        nodes = list(self.nodes.items())
        # Its number may be another process's by now.
        ended = set(self._ended)
        return [name for name, pid in nodes if name in ended or not Path(f"/proc/{pid}").exists()]

    def logs(self) -> dict[str, str]:
        """Read every log file of the fleet."""
        files = sorted(self.folder.rglob("*.log"))
        return {str(file): file.read_text(errors="replace") for file in files}

    def log(self) -> str:
        return "\n".join(f"== {name}\n{text[-3000:]}" for name, text in self.logs().items())

    def stop(self) -> None:
        """Ask it to end, as Ctrl-C does, and check that it does so in order."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(STOP_S)
        assert code == 0, f"fleet up ended with {code}:\n{self.log()}"

    def join(self) -> None:
        """Wait until all that it said is read."""
        self._reader.join(10)

    def _read(self, stdout: IO[str]) -> None:
        with stdout:
            for line in stdout:
                said = json.loads(line)
                for node in (*said.get("consumers", ()), said.get("replacement")):
                    if node:
                        self.nodes[node["node"]] = node["pid"]
                if said["event"] == "ended":
                    self._ended.add(said["node"])
                self._said.put(said)
        self._said.put({"event": "eof"})


@contextmanager
def running_fleet(
    folder: Path, *flags: str, env: Mapping[str, str] = QUICK, stops: bool = True
) -> Iterator[RunningFleet]:
    """Run `fleet up` with scripted consumers; afterwards nothing of it may be left.

    stops: whether it is there to be stopped at the end; False where the test kills it.
    """
    mark = secrets.token_hex(8)
    elsewhere = "--nats" in flags or "FLEET_NATS" in env
    store = () if elsewhere else ("--store", str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "up.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "fleet", "up", "--engine", "scripted", "--json", *store, *flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=ROOT,
            env={**os.environ, **env, MARK: mark, "TMPDIR": str(folder)},
            # A test run that is killed leaves no fleet behind.
            preexec_fn=die_with_parent,
        )
    fleet = RunningFleet(process, folder)
    try:
        ready = fleet.next_event("ready", bound_s=READY_S)
        fleet.nats = ready["nats"]
        yield fleet
        if stops:
            fleet.stop()
    finally:
        left = end_all(mark) if process.poll() is not None else None
        if left is None:
            process.kill()
            process.wait()
            end_all(mark)
        fleet.join()
    assert not left, f"the fleet left processes behind: {left}"


@contextmanager
def running_consumer(
    folder: Path,
    nats: str,
    capacity_type: str,
    *flags: str,
    env: Mapping[str, str] = QUICK,
    root: Path = ROOT,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run one scripted consumer beside a fleet; it must drain in order.

    root: the tree whose code it is to run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "consumers", capacity_type, "--model", "smollm2"]
    path = folder / f"{capacity_type}.log"
    with path.open("ab") as log:
        process = subprocess.Popen(
            [*command, "--engine", "scripted", "--nats", nats, *flags],
            stderr=log,
            cwd=root,
            env={**os.environ, **env},
            preexec_fn=die_with_parent,
        )
    try:
        yield process
    finally:
        # A signal that comes before Python is up would kill it.
        give_up = time.monotonic() + READY_S
        while process.poll() is None and b"node_started" not in path.read_bytes():
            assert time.monotonic() < give_up, "the consumer never started"
            time.sleep(0.05)  # its log is the only sign
        process.terminate()
        try:
            code = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert code == 0, path.read_text()
