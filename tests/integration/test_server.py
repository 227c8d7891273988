"""The server of our own: durable, private, and never left behind."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import pytest

from fleet.broker.server import Server, find_server, serve
from fleet.errors import BrokerUnreachable, UsageError
from tests.integration.brokers import connected

WAIT_S = 60.0
PARENT = """
import asyncio, sys
from pathlib import Path
from fleet.broker.server import serve
async def main():
    async with serve(Path(sys.argv[1])) as server:
        print(server.pid, server.url, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int) -> None:
    give_up = time.monotonic() + WAIT_S
    while is_alive(pid):
        assert time.monotonic() < give_up, f"process {pid} is still there"
        time.sleep(0.02)


def parent(store: Path) -> tuple[subprocess.Popen[str], int]:
    """Start a process that serves from `store`; return it and its server's process id."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(store)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        return process, int(process.stdout.readline().split()[0])


async def test_it_serves_jetstream_on_loopback_and_removes_its_folder() -> None:
    async with serve() as server:
        folder = server.log.parent
        assert server.url.startswith("nats://127.0.0.1:")
        assert server.monitor.startswith("http://127.0.0.1:")
        async with connected(server.url) as connection:
            assert await connection.api("INFO")
        health = await asyncio.to_thread(lambda: urlopen(f"{server.monitor}/healthz").read())
        assert b"ok" in health
        pid = server.pid
    assert not is_alive(pid)
    assert not folder.exists()


async def test_it_syncs_every_write_and_notices_frozen_clients(tmp_path: Path) -> None:
    async with serve(tmp_path):
        lines = {line.strip() for line in (tmp_path / "nats-server.conf").read_text().splitlines()}
    assert {"sync_interval: always", 'ping_interval: "5s"', "ping_max: 2"} <= lines


async def test_what_was_stored_is_there_again_on_the_same_port(tmp_path: Path) -> None:
    store = tmp_path / "a folder" / 'with "quotes"'
    async with serve(store) as server:
        port = int(server.url.rpartition(":")[2])
        async with connected(server.url) as connection:
            await connection.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s"]})
            await connection.append("s", b"x")
    async with serve(store, port=port) as server, connected(server.url) as connection:
        assert server.url.endswith(f":{port}")
        assert (await connection.api("STREAM.INFO.S"))["state"]["messages"] == 1


async def test_an_error_of_the_body_ends_the_server_too(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mine"):
        async with serve(tmp_path) as server:
            raise UsageError("mine")
    assert not is_alive(server.pid)


async def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    async with serve(tmp_path):
        with pytest.raises(UsageError, match="in use by another nats-server"):
            async with serve(tmp_path):
                pass
    async with serve(tmp_path):
        pass


async def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(UsageError, match="cannot be the broker's folder"):
        async with serve(tmp_path):
            pass


async def test_a_server_that_cannot_be_started_is_told_as_one_that_did_not_start(
    tmp_path: Path,
) -> None:
    with (tmp_path / "lock").open("w") as lock:
        gone = Server(tmp_path / "gone", tmp_path, lock.fileno())
        with pytest.raises(BrokerUnreachable, match="could not be started"):
            await gone.start(0)


async def test_a_port_in_use_is_told_with_the_log(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(BrokerUnreachable, match="address already in use"),
    ):
        async with serve(tmp_path, port=taken.getsockname()[1]):
            pass


def test_kill_9_of_the_parent_leaves_no_server(tmp_path: Path) -> None:
    process, pid = parent(tmp_path)
    assert is_alive(pid)
    process.kill()
    process.wait(WAIT_S)
    wait_until_gone(pid)


def test_ctrl_c_reaches_the_parent_and_not_the_server(tmp_path: Path) -> None:
    process, pid = parent(tmp_path)
    assert os.getpgid(pid) != os.getpgid(process.pid)
    process.send_signal(signal.SIGINT)
    process.wait(WAIT_S)
    wait_until_gone(pid)
    assert "Initiating Shutdown" in (tmp_path / "nats-server.log").read_text()


async def test_a_server_that_ignores_sigterm_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet.broker.server.STOP_S", 0.3)
    async with serve(tmp_path) as server:
        os.kill(server.pid, signal.SIGSTOP)
    assert not is_alive(server.pid)


async def test_a_server_that_is_killed_comes_back_with_its_addresses_and_its_store(
    tmp_path: Path,
) -> None:
    async with serve(tmp_path) as server, connected(server.url) as connection:
        await connection.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s"]})
        await connection.append("s", b"x")
        before = (server.pid, server.url, server.monitor)
        os.kill(server.pid, signal.SIGKILL)
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    info = await connection.api("STREAM.INFO.S")
                    break
                except BrokerUnreachable:
                    await connection.up()
        assert info["state"]["messages"] == 1
        assert server.pid != before[0]
        assert (server.url, server.monitor) == before[1:]
    assert not is_alive(server.pid)


async def test_a_server_that_dies_again_and_again_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet.broker.server.MOST_DEATHS", 1)
    with pytest.raises(ExceptionGroup) as raised:
        async with serve(tmp_path) as server:
            async with asyncio.timeout(WAIT_S):
                while True:
                    with suppress(ProcessLookupError):
                        os.kill(server.pid, signal.SIGKILL)
                    await asyncio.sleep(0.01)
    assert raised.group_contains(BrokerUnreachable, match="died 2 times")


def test_the_server_is_found_beside_python_or_where_we_are_told(tmp_path: Path) -> None:
    found = find_server({})
    assert found.name == "nats-server"
    assert find_server({"FLEET_NATS_SERVER": str(found)}) == found
    with pytest.raises(UsageError, match=r"FLEET_NATS_SERVER=.*/none is no file"):
        find_server({"FLEET_NATS_SERVER": str(tmp_path / "none")})


@pytest.mark.parametrize(
    ("prints", "says"),
    [
        ("nats-server: v2.12.4", r"version v2\.12\.4, 2\.12\.5 is needed"),
        ("nats-server: v2.9.10", r"2\.12\.5 is needed"),
        ("hello", "is no nats-server"),
    ],
)
def test_another_program_or_an_old_one_is_refused(tmp_path: Path, prints: str, says: str) -> None:
    program = tmp_path / "nats-server"
    program.write_text(f"#!/bin/sh\necho '{prints}'\n")
    program.chmod(0o755)
    with pytest.raises(UsageError, match=says):
        find_server({"FLEET_NATS_SERVER": str(program)})


def test_a_program_that_cannot_run_is_refused(tmp_path: Path) -> None:
    program = tmp_path / "nats-server"
    program.write_text("no program")
    with pytest.raises(UsageError, match="cannot be run"):
        find_server({"FLEET_NATS_SERVER": str(program)})
