"""Nodes as processes on this machine: for a laptop, the demo and the tests.

A signal is a real interruption here: SIGTERM is the notice, SIGKILL the node that vanishes.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from fleet.broker.nodes import Nodes
from fleet.children import die_with_parent
from fleet.errors import EngineDead, NotFound
from fleet.job import CapacityType
from fleet.subjects import plain

TAIL_BYTES = 2000
PORT = "FLEET_HEALTH_PORT"
POLL_S = 0.1


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What every consumer of a pool is started with.

    tag: stands in the nodes' names, so that two pools at one broker have different ones. arguments:
    further options of `python -m consumers`. prices_usd_per_hour: by capacity type.
    """

    nats: str
    model: str
    engine: str
    logs: Path
    tag: str = ""
    arguments: tuple[str, ...] = ()
    prices_usd_per_hour: Mapping[str, float] = {}


class LocalNode(msgspec.Struct, frozen=True, kw_only=True):
    """One started consumer. started_at: seconds since the epoch."""

    node: str
    pid: int
    capacity_type: CapacityType
    zone: str
    started_at: float


class LocalPool:
    """Starts consumers as child processes that die with this one, and ends them."""

    def __init__(self, plan: Plan, environment: Mapping[str, str] = os.environ) -> None:
        self._plan = plan
        self._environment = environment
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._counts: dict[str, int] = {}
        self._stopping = False
        self.nodes: dict[str, LocalNode] = {}

    async def start(self, capacity_type: CapacityType, zone: str) -> LocalNode:
        """Start one consumer; it loads its engine by itself."""
        number = self._counts[capacity_type] = self._counts.get(capacity_type, 0) + 1
        name = f"{capacity_type}-{self._plan.tag}{number}"
        price = self._plan.prices_usd_per_hour.get(capacity_type)
        launched_at = time.time()
        self._plan.logs.mkdir(parents=True, exist_ok=True)
        with self._log(name).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "consumers", capacity_type,
                "--model", self._plan.model, "--engine", self._plan.engine,
                "--node", name, "--zone", zone,
                *(("--price", str(price)) if price is not None else ()),
                *self._plan.arguments,
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                # The terminal's Ctrl-C is for us; we tell the consumers ourselves.
                start_new_session=True, preexec_fn=die_with_parent,
                # Not a flag: the address may hold a password, and anybody may list processes.
                # No cloud sends notices to a process on a laptop, unless somebody plays one.
                env={
                    "FLEET_CLOUD": "none",
                    **self._environment,
                    # A free one each: many nodes share this machine's ports.
                    **({PORT: "0"} if PORT in self._environment else {}),
                    "FLEET_NATS": self._plan.nats,
                    "FLEET_LAUNCHED_AT": f"{launched_at:.3f}",
                },
            )  # fmt: skip
        started = LocalNode(
            node=name, pid=process.pid, capacity_type=capacity_type, zone=zone,
            started_at=launched_at,
        )  # fmt: skip
        self._processes[name] = process
        self.nodes[name] = started
        if self._stopping:
            self.notice(name)
        return started

    async def ready(
        self, nodes: Nodes, names: Sequence[str], *, on_ready: Callable[[int, int], None]
    ) -> None:
        """Wait until all of `names` take jobs. Raises EngineDead when one of them ended instead.

        on_ready: told how many of how many are ready, again and again.
        """
        waiting = set(names)
        while waiting:
            # By pid too: a name may still beat for a process that ended a moment ago.
            listed = {(one.node, one.pid) for one in await nodes.list() if one.state == "ready"}
            waiting = {name for name in waiting if (name, self.nodes[name].pid) not in listed}
            for name in waiting:
                code = self._process(name).returncode
                if code is not None:
                    raise EngineDead(
                        f"{name} ended with {ending(code)} before it was ready; "
                        f"its log {self._log(name)} ends:\n{self._tail(name)}"
                    )
            on_ready(len(names) - len(waiting), len(names))
            await asyncio.sleep(POLL_S)

    async def wait(self, name: str) -> int:
        """Wait until a consumer ended; return its exit code, negative for a signal."""
        return await self._process(name).wait()

    def notice(self, name: str) -> None:
        """Tell a node that it is about to vanish."""
        self._signal(name, signal.SIGTERM)

    def kill(self, name: str) -> None:
        """Let a node vanish without a word."""
        self._signal(name, signal.SIGKILL)

    async def stop(self, *, wait_s: float) -> None:
        """Drain all consumers; kill those that are there after `wait_s` seconds.

        One that is being started right now gets its notice as soon as it is there.
        """
        self._stopping = True
        for name in self._processes:
            self.notice(name)
        try:
            async with asyncio.timeout(wait_s):
                await self._ended()
        except TimeoutError:
            self.kill_all()
            await self._ended()

    def kill_all(self) -> None:
        """Let all nodes vanish."""
        for name in self._processes:
            self.kill(name)

    def running(self) -> list[LocalNode]:
        """List the nodes whose process is alive."""
        return [
            node for name, node in self.nodes.items() if self._processes[name].returncode is None
        ]

    async def _ended(self) -> None:
        while running := self.running():
            await self.wait(running[0].node)

    def last_words(self, name: str) -> str:
        """Return the last line of a node's log, escaped and cut; it holds no prompts."""
        lines = [line for line in self._tail(name).splitlines() if line.strip()]
        return plain(lines[-1].strip()) if lines else "nothing"

    def _signal(self, name: str, number: signal.Signals) -> None:
        process = self._process(name)
        if process.returncode is None:
            process.send_signal(number)

    def _process(self, name: str) -> asyncio.subprocess.Process:
        if name not in self._processes:
            raise NotFound(f"no node {name} was started here: {', '.join(self._processes)}")
        return self._processes[name]

    def _log(self, name: str) -> Path:
        return self._plan.logs / f"{name}.log"

    def _tail(self, name: str) -> str:
        return self._log(name).read_bytes()[-TAIL_BYTES:].decode(errors="replace")


def ending(code: int) -> str:
    """Say in words how a process ended."""
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
