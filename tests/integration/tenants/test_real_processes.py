"""The fleet's own processes, each as its identity: none asks for what it may not have."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from fleet.broker.connection import Connection
from fleet.broker.nodes import Nodes
from fleet.broker.provision import provision
from fleet.broker.results import ResultLog
from fleet.children import die_with_parent
from fleet.errors import BrokerRefused
from fleet.pool.switches import Switches
from fleet.producer import Producer
from fleet.tenancy.grants import inbox_prefix
from fleet.tenancy.register import role_of
from tests.asking import chat, eventually
from tests.fleets import QUICK, ROOT
from tests.tenants import connected_as, seed, server_with_accounts

SERVED = ["--model", "m", "--engine", "scripted"]
KUBERNETES = ["--provider", "kubernetes", "--instance-type", "g6.xlarge"]
PROCESSES = {
    "@on-demand": ["consumers", "on-demand", *SERVED],
    "@spot": ["consumers", "spot", *SERVED],
    "@sweep": ["fleet", "sweep", "--every", "0.5"],
    "@manager": ["fleet", "pool", "run", *KUBERNETES, "--model", "m", "--listen", "127.0.0.1:0"],
}
BOUND_S = 60.0


@contextmanager
def running(name: str, url: str, folder: Path) -> Iterator[None]:
    """Run a process as its identity; it has to end in order."""
    file = folder / f"{name}.nk"
    file.write_bytes(seed(name))
    role = role_of(name)
    assert role is not None
    env = {
        "NATS_URL": url, "NATS_NKEY": str(file), "NATS_INBOX_PREFIX": inbox_prefix(role),
        "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *PROCESSES[name]], stdout=log, stderr=log, cwd=ROOT,
            env={**os.environ, **QUICK, **env}, preexec_fn=die_with_parent,
        )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        try:
            code = process.wait(BOUND_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    # The sweep holds nothing that it had to hand over.
    assert code in {0, -signal.SIGTERM}, (folder / f"{name}.log").read_text()


async def test_a_fleet_with_least_privilege_works_and_asks_for_nothing_more(
    tmp_path: Path,
) -> None:
    with server_with_accounts(tmp_path) as server, ExitStack() as processes:
        async with (
            connected_as("@operator", server.url, tmp_path) as operator,
            connected_as("@dashboard", server.url, tmp_path) as dashboard,
            connected_as("acme", server.url, tmp_path) as acme,
            connected_as("beta", server.url, tmp_path) as beta,
        ):
            await provision(operator, ["m"], ack_wait_s=3)
            for name in PROCESSES:
                processes.enter_context(running(name, server.url, tmp_path))
            await eventually(lambda: alive(dashboard, 2), "two consumers", bound_s=BOUND_S)
            await served(acme, "acme", other=beta)
            await served(beta, "beta", other=acme)
            refused = await Producer(acme, tenant="acme").submit(
                chat("?"), model="unknown", tier="batch"
            )
            await Producer(acme, tenant="acme").result(refused)
            await eventually(lambda: managed(dashboard), "the manager's word", bound_s=BOUND_S)
        processes.close()
        log = (tmp_path / "nats.log").read_text()
    assert not [line for line in log.splitlines() if "Violation" in line and "tenant-" not in line]


async def served(tenant: Connection, name: str, *, other: Connection) -> None:
    """Have a job of each tier answered, and its answer be nobody else's."""
    producer = Producer(tenant, tenant=name)
    async with asyncio.timeout(BOUND_S):
        for tier in ("realtime", "background", "batch"):
            ticket = await producer.submit(chat(f"{name} {tier}"), model="m", tier=tier)
            (line,) = await producer.result(ticket)
            assert line.error is None
            with pytest.raises(BrokerRefused):
                await ResultLog(other).read(name, None, ticket.job)


async def alive(watcher: Connection, number: int) -> bool:
    return len(await Nodes(watcher).list()) == number


async def managed(watcher: Connection) -> bool:
    return await Switches(watcher, "m").standing() is not None
