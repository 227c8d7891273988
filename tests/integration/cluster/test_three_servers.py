"""What the documents promise: three servers, two tenants, a manager and two consumers."""

import asyncio
import os
import random
import secrets
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from fleet.broker.connection import Connection, connect
from fleet.broker.context import find_target
from fleet.broker.nodes import Nodes
from fleet.broker.results import ResultLog
from fleet.children import die_with_parent
from fleet.cli.tenant import command as tenant
from fleet.errors import BrokerRefused, BrokerUnreachable
from fleet.pool.switches import Switches
from fleet.producer import Producer, Ticket
from tests.asking import chat, eventually
from tests.fleets import QUICK, ROOT
from tests.server import binary

SCRIPT = ROOT / "deploy" / "nats" / "three-servers.sh"
FLEET = [sys.executable, "-m", "fleet"]
CONSUMER = [sys.executable, "-m", "consumers"]
SERVED = ["--model", "m", "--engine", "scripted"]
BOUND_S = 40.0


class Broker:
    """The three servers of one folder, as the script runs them."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self._env = {**os.environ, "PORT": str(port), "FLEET_NATS_SERVER": binary()}
        self.url = ""

    def script(self, action: str, *args: str) -> str:
        done = subprocess.run(
            [str(SCRIPT), action, str(self.folder), *args], env=self._env,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def agrees(self) -> bool:
        """Whether all three have the register in force, as they say."""
        ca = {"NATS_CA": str(self.folder / "tls" / "ca.pem")}
        check = ["check", "--dir", str(self.folder), "--servers", "--nats", self.url]
        checked = CliRunner(env=ca).invoke(tenant, check)
        assert "3 servers answered: n1, n2, n3" in checked.output
        return checked.exit_code == 0

    def variables(self, name: str) -> dict[str, str]:
        """What somebody's environment holds, by the documents."""
        lines = (self.folder / "keys" / f"{name}.env").read_text().splitlines()
        own = dict(line.split("=", 1) for line in lines)
        return own | {"NATS_URL": self.url, "NATS_CA": str(self.folder / "tls" / "ca.pem")}

    @asynccontextmanager
    async def connected(self, name: str) -> AsyncIterator[Connection]:
        async with connect(find_target(None, self.variables(name)), name=name) as connection:
            yield connection

    @contextmanager
    def running(self, name: str, *command: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a process of the fleet as somebody; it has to end in order."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=ROOT, preexec_fn=die_with_parent,
                env={**os.environ, **QUICK, **self.variables(name), **more},
            )  # fmt: skip
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(BOUND_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


@pytest.fixture
def broker(tmp_path: Path, seeded: random.Random) -> Iterator[Broker]:
    folder = tmp_path / "broker"
    for args in (["init"], ["add", "acme"], ["add", "beta"]):
        made = CliRunner().invoke(tenant, [args[0], "--dir", str(folder), *args[1:]])
        assert made.exit_code == 0, made.output
    broker = Broker(folder, free_ports(seeded))
    broker.script("up")
    try:
        broker.url = broker.script("addresses")
        yield broker
    finally:
        broker.script("stop")


def free_ports(seeded: random.Random) -> int:
    """Find a port with the others of the three servers free, too."""
    while True:
        port = seeded.randrange(20_000, 28_000)
        wanted = [port + more for base in (0, 2000, 4000) for more in (base, base + 1, base + 2)]
        with ExitStack() as stack:
            try:
                for one in wanted:
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", one))
            except OSError:
                continue
        return port


async def test_two_tenants_are_served_while_a_server_dies_and_keys_change(broker: Broker) -> None:
    init = [*FLEET, "init", "--model", "m", "--replicas", "3", "--ack-wait", "3"]
    await eventually(lambda: succeeds(init, broker.variables("@operator")), "fleet init")
    pool = ["pool", "run", "--provider", "kubernetes", "--instance-type", "g6.xlarge"]
    with (
        broker.running("@on-demand", *CONSUMER, "on-demand", *SERVED),
        broker.running("@spot", *CONSUMER, "spot", *SERVED),
        broker.running("@sweep", *FLEET, "sweep", "--every", "1"),
        broker.running("@manager", *FLEET, *pool, "--model", "m", "--listen", "127.0.0.1:0"),
    ):
        async with (
            broker.connected("acme") as acme,
            broker.connected("beta") as beta,
            broker.connected("@dashboard") as dashboard,
        ):
            await eventually(lambda: alive(dashboard, 2), "two consumers", bound_s=BOUND_S)
            await both_are_served(acme, beta)
            await eventually(lambda: managed(dashboard), "the manager's word", bound_s=BOUND_S)
            broker.script("kill", "1")
            await both_are_served(acme, beta)
            broker.script("up")
            rotate = ["rotate", "--dir", str(broker.folder), "@spot", "--overlap", "1h"]
            assert CliRunner().invoke(tenant, rotate).exit_code == 0
            assert not await asyncio.to_thread(broker.agrees)
            broker.script("reload")
            assert await asyncio.to_thread(broker.agrees)
            with broker.running("@spot", *CONSUMER, "spot", *SERVED):
                await eventually(lambda: alive(dashboard, 3), "a new key", bound_s=BOUND_S)
                await both_are_served(acme, beta)
    assert not violations(broker.folder)


async def both_are_served(acme: Connection, beta: Connection) -> None:
    """Send a job of each tier as each tenant, and look that neither reads the other's."""
    producers = {"acme": Producer(acme, tenant="acme"), "beta": Producer(beta, tenant="beta")}
    async with asyncio.timeout(BOUND_S):
        for name, producer in producers.items():
            for tier in ("realtime", "background", "batch"):
                ticket = await submitted(producer, f"{name} {tier}", tier)
                (line,) = await producer.result(ticket)
                assert line.error is None
                other = beta if name == "acme" else acme
                with pytest.raises(BrokerRefused):
                    await ResultLog(other).read(name, None, ticket.job)


async def submitted(producer: Producer, text: str, tier: str) -> Ticket:
    """Submit under one id, until the servers have chosen who takes it."""
    job = secrets.token_hex(8)
    while True:
        try:
            return await producer.submit(chat(text), model="m", tier=tier, job_id=job)
        except (BrokerRefused, BrokerUnreachable):
            await asyncio.sleep(0.2)


async def succeeds(command: list[str], env: Mapping[str, str]) -> bool:
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **env}, cwd=ROOT,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return await process.wait() == 0


async def alive(watcher: Connection, number: int) -> bool:
    return len(await Nodes(watcher).list()) == number


async def managed(watcher: Connection) -> bool:
    return await Switches(watcher, "m").standing() is not None


def violations(folder: Path) -> list[str]:
    """Read what the fleet was refused; tenants were, on purpose."""
    lines = [
        line for log in folder.glob("n?/nats-server.log") for line in log.read_text().splitlines()
    ]
    return [line for line in lines if "Violation" in line and "tenant-" not in line]
