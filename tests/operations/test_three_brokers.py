"""From nothing to three brokers with two tenants, a manager and two consumers, by the book."""

import os
import secrets
import socket
import subprocess
from pathlib import Path

from tests.asking import MODEL, answer_to
from tests.fleets import ROOT
from tests.operations.shell import run
from tests.ports import is_free

BEGIN = "Three brokers, two tenants, a manager and two consumers"
ROTATE, BACKUP = "Rotate credentials", "Back up and restore the broker"
SERVERS = ROOT / "deploy" / "nats" / "three-servers.sh"
AT_ONCE = range(3)
# Of clients, routes, monitoring and the manager, counted from the first.
PORTS = (*AT_ONCE, *(2000 + n for n in AT_ONCE), *(4000 + n for n in AT_ONCE), 5000)


async def test_a_newcomer_comes_from_nothing_to_a_fleet_of_two_tenants(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    ran = await run(
        BEGIN, ROTATE, BACKUP, f"{BEGIN}: tried, at the end",
        FOLDER=str(folder), PORT=str(free_ports()), MODEL=MODEL, NAME="beta",
        BACKUP=str(tmp_path / "backup"),
    )  # fmt: skip
    logs = "\n".join(file.read_text()[-2000:] for file in folder.glob("*.log"))
    assert ran.code == 0, ran.out + ran.err + logs
    for question in ("Why is the sky blue?", "Still there?"):
        assert answer_to(question, 16) in ran.out
    assert "all jobs: proven" in ran.out
    assert ran.err.count(" is forbidden ") == 2, ran.err
    assert (tmp_path / "backup").is_dir()


def test_a_port_that_is_taken_is_told_and_no_server_is_started(tmp_path: Path) -> None:
    port = free_ports()
    with socket.create_server(("127.0.0.1", port + 2)):
        code, said = up(tmp_path, PORT=str(port))
    assert code == 1
    assert f"somebody else listens on port {port + 2}" in said
    assert not (tmp_path / "n1").exists()


def test_a_server_that_ends_is_not_waited_for(tmp_path: Path) -> None:
    code, said = up(tmp_path, PORT=str(free_ports()), FLEET_NATS_SERVER="/bin/false")
    assert code == 1
    assert "n1 did not start:" in said


def up(folder: Path, **env: str) -> tuple[int, str]:
    """Start servers that have accounts, of a kind; return the exit code and what was said."""
    (folder / "accounts.conf").touch()
    done = subprocess.run(
        [SERVERS, "up", folder],
        capture_output=True, text=True, check=False, env={**os.environ, **env},
        # Sooner than one that starts is given up: that takes 30 s.
        timeout=25,
    )  # fmt: skip
    return done.returncode, done.stderr


def free_ports() -> int:
    """Find a port that is free with all those that the procedure counts from it."""
    # From anywhere, for two test runs on one machine look at the same time.
    for port in range(20_222 + 10 * secrets.randbelow(150), 27_000, 10):
        if all(is_free(port + behind) for behind in PORTS):
            return port
    raise AssertionError("no ports in a row are free")
