"""The configuration that we ship."""

import os
import subprocess
from pathlib import Path

from fleet.broker.server import find_server

CONFIG = Path(__file__).parents[2] / "deploy" / "nats" / "nats-server.conf"


def test_the_shipped_configuration_is_one_that_the_server_accepts() -> None:
    command = [str(find_server(os.environ)), "-t", "-c", str(CONFIG)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert checked.returncode == 0, checked.stderr


def test_the_shipped_configuration_syncs_every_write_and_listens_on_loopback() -> None:
    text = CONFIG.read_text()
    assert "sync_interval: always" in text
    assert 'listen: "127.0.0.1' in text
    assert 'http: "127.0.0.1' in text
