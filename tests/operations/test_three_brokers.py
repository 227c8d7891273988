"""From nothing to three brokers with two tenants, a manager and two consumers, by the book."""

import secrets
import socket
from pathlib import Path

from tests.asking import MODEL, answer_to
from tests.operations.shell import run

BEGIN = "Three brokers, two tenants, a manager and two consumers"
ROTATE, BACKUP = "Rotate credentials", "Back up and restore the broker"
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


def free_ports() -> int:
    """Find a port that is free with all those that the procedure counts from it."""
    # From anywhere, for two test runs on one machine look at the same time.
    for port in range(20_222 + 10 * secrets.randbelow(150), 27_000, 10):
        if all(is_free(port + behind) for behind in PORTS):
            return port
    raise AssertionError("no ports in a row are free")


def is_free(port: int) -> bool:
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
