"""From nothing to three brokers with two tenants, a manager and two consumers, by the book."""

import asyncio
import os
import shutil
import socket
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from fleet.children import die_with_parent
from tests.asking import MODEL, answer_to
from tests.fleets import ROOT
from tests.operations.shell import run
from tests.server import binary

NAME = "Three brokers, two tenants, a manager and two consumers"


class Broker(NamedTuple):
    """A folder of three servers, and the first of their ports."""

    folder: Path
    port: int

    @property
    def names(self) -> dict[str, str]:
        return {"FOLDER": str(self.folder), "PORT": str(self.port), "MODEL": MODEL}

    @property
    def as_operator(self) -> str:
        return f"env $(cat {self.folder}/keys/@operator.env)"

    def environment(self, url: str) -> dict[str, str]:
        path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
        own = {"PATH": path, "NATS_URL": url, "NATS_CA": str(self.folder / "tls" / "ca.pem")}
        return {**os.environ, **own}

    def begin(self) -> str:
        """Start the servers, and return their addresses."""
        self.servers("up")
        return self.servers("addresses")

    def servers(self, action: str) -> str:
        """Do something with all of them."""
        command = (ROOT / "deploy" / "nats" / "three-servers.sh", action, self.folder)
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=60,
            env={**os.environ, "PORT": str(self.port), "FLEET_NATS_SERVER": binary()},
        )  # fmt: skip
        return done.stdout.strip()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("three") / "broker", free_ports())
    yield broker
    broker.servers("stop")


async def test_a_newcomer_comes_from_nothing_to_a_fleet_of_two_tenants(broker: Broker) -> None:
    folder = broker.folder
    ran = await run(NAME, **broker.names)
    logs = "\n".join(file.read_text()[-2000:] for file in folder.glob("*.log"))
    assert ran.code == 0, ran.out + ran.err + logs
    for question in ("Why is the sky blue?", "Still there?"):
        assert answer_to(question, 16) in ran.out
    assert "all jobs: proven" in ran.out
    assert ran.err.count(" is forbidden ") == 2, ran.err


async def test_keys_are_rotated_and_a_broker_is_restored_from_its_backup(broker: Broker) -> None:
    url, keys, backup = broker.begin(), broker.folder / "keys", broker.folder / "backup"
    await answering(broker, url)
    old = (keys / "acme.nk").read_text()
    names = {**broker.names, "NATS_CA": str(broker.folder / "tls" / "ca.pem")}
    with sweeping(broker, url):
        ran = await run("Rotate credentials", url, **names, NAME="acme")
    assert ran.code == 0, ran.out + ran.err
    assert (keys / "acme.nk").read_text() != old

    names |= {"NATS_NKEY": str(keys / "@operator.nk"), "NATS_INBOX_PREFIX": "_INBOX_operator"}
    names |= {"BACKUP": str(backup)}
    ran = await run("Back up and restore the broker", url, **names)
    assert ran.code == 0, ran.err
    broker.servers("stop")
    for store in broker.folder.glob("n?/store"):
        shutil.rmtree(store)
    broker.servers("up")
    empty = "tried, with empty servers"
    ran = await run("Back up and restore the broker", url, mark=empty, **names)
    assert ran.code == 0, ran.err
    assert "all jobs: proven\n  3 jobs: 3 result" in ran.out


async def answering(broker: Broker, url: str) -> None:
    """Wait until three servers that begin again have agreed on who leads."""
    doctor = f"until {broker.as_operator} fleet doctor; do sleep 0.5; done"
    process = await asyncio.create_subprocess_exec(
        "timeout", "60", "bash", "-c", doctor, env=broker.environment(url)
    )
    assert await process.wait() == 0


@contextmanager
def sweeping(broker: Broker, url: str) -> Iterator[None]:
    """Run what answers tenants who read several things at once."""
    command = f"exec env $(cat {broker.folder}/keys/@sweep.env) fleet sweep --every 1"
    process = subprocess.Popen(
        ["bash", "-c", command], env=broker.environment(url), preexec_fn=die_with_parent
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def free_ports() -> int:
    """Find a port that is free with all those that the procedure counts from it."""
    for port in range(20_222, 30_000, 10):
        if all(map(is_free, (port + behind for behind in (0, 1, 2, 2000, 2001, 2002, 4000, 5000)))):
            return port
    raise AssertionError("no ports in a row are free")


def is_free(port: int) -> bool:
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
