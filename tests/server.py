"""A real nats-server as a child process of the tests."""

import json
import os
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from fleet.children import die_with_parent
from tests.ports import free_port

START_S = 20.0
STOP_S = 10.0


class NatsServer(NamedTuple):
    """A running server: where it listens, and its process."""

    url: str
    port: int
    process: subprocess.Popen[bytes]


def binary() -> str:
    """Find nats-server: FLEET_NATS_SERVER, else beside this Python."""
    return os.environ.get("FLEET_NATS_SERVER") or str(
        Path(sysconfig.get_path("scripts"), "nats-server")
    )


@contextmanager
def nats_server(folder: Path, *, port: int | None = None, config: str = "") -> Iterator[NatsServer]:
    """Run a server whose store, log and configuration lie in `folder`.

    port: None takes a free one; give the port of an earlier run to restart a server. config: more
    lines of nats-server configuration. Nothing is synced to disk at once, for speed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file, log = folder / "nats.conf", folder / "nats.log"
    at = free_port() if port is None else port
    file.write_text(
        f'listen: "127.0.0.1:{at}"\nports_file_dir: "{folder}"\nlog_file: "{log}"\n'
        f'jetstream {{ store_dir: "{folder}", max_memory_store: 1G, max_file_store: 64G }}\n'
        f"{config}\n"
    )
    process = subprocess.Popen([binary(), "--config", str(file)], preexec_fn=die_with_parent)
    try:
        url = _address(folder / f"nats-server_{process.pid}.ports", process, log)
        yield NatsServer(url, at, process)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)


def _address(ports: Path, process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait for the file of ports, which the server writes once it is ready."""
    give_up = time.monotonic() + START_S
    while time.monotonic() < give_up and process.poll() is None:
        if ports.exists() and (text := ports.read_text()).rstrip().endswith("}"):
            return str(json.loads(text)["nats"][0])
        time.sleep(0.01)
    raise RuntimeError(f"nats-server did not start:\n{log.read_text() if log.exists() else ''}")
