"""A register as `fleet tenant` makes it, and a server that reads its accounts."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from click.testing import CliRunner, Result

from fleet.broker.connection import connect
from fleet.broker.context import find_target
from fleet.cli.tenant import command
from fleet.errors import BrokerRefused
from tests.server import NatsServer, nats_server


def tenant(folder: Path, *args: str) -> Result:
    """Run a command; its error, if it is one of ours, is in `exception`."""
    return CliRunner().invoke(command, [args[0], "--dir", str(folder), *args[1:]])


@contextmanager
def served(folder: Path, at: Path) -> Iterator[NatsServer]:
    config = f'include "{os.path.relpath(folder / "accounts.conf", at)}"'
    pid_file = f'pid_file: "{folder / "server.pid"}"'
    with nats_server(at, config=f"{config}\n{pid_file}") as server:
        yield server


def variables(folder: Path, name: str) -> dict[str, str]:
    """Read the variables that the command wrote for somebody."""
    lines = (folder / "keys" / f"{name}.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


async def works(server: NatsServer, env: dict[str, str]) -> bool:
    try:
        async with connect(find_target(server.url, env), name="t"):
            return True
    except BrokerRefused:
        return False
