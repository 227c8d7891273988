"""The units as they are, sandbox and all, under a real systemd: they work, hang, die and stop."""

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.broker.provision import provision
from tests.asking import Asker, chat
from tests.deploy.booted import Booted, booted, why_not
from tests.deploy.cluster import ROOT
from tests.integration.brokers import connected
from tests.tools import missing

pytestmark = pytest.mark.soak
EC2 = ROOT / "deploy" / "ec2"
CONTROL = ("overbook-nats", "overbook-manager@smollm2", "overbook-sweep", "overbook-metrics")
CONSUMER = "overbook-consumer"
WATCHDOG_S = 5
# Values come from the environment, lists among them.
BROKER = """
server_name: n1
listen: $NATS_LISTEN
jetstream { store_dir: /var/lib/overbook/nats }
cluster { name: c, listen: "127.0.0.1:-1", routes: $NATS_ROUTES }
"""
ROLES = ("nats", "manager", "sweep", "metrics")


@pytest.fixture
def machine(tmp_path: Path, nats_url: str) -> Iterator[Booted]:
    """A machine with our units, on which no cloud answers."""
    if (reason := why_not()) is not None:
        missing(reason)
    root = tmp_path / "root"
    settings = root / "etc" / "overbook" / "nats"
    settings.mkdir(parents=True)
    for role in ROLES:
        (settings / f"{role}.env").write_text(f"NATS_URL={nats_url}\nFLEET_CLOUD=none\n")
    (settings.parent / "consumer.env").write_text(
        "MODEL=smollm2\nMODEL_PATH=/tmp\nCAPACITY_TYPE=spot\n"
    )
    (settings / "server.env").write_text(
        "NATS_CONFIGURATION=small.conf\nNATS_LISTEN=127.0.0.1:-1\n"
        'NATS_ROUTES=["nats://a:1","nats://b:2"]\n'
    )
    (settings / "small.conf").write_text(BROKER)
    shutil.copy(EC2 / "pool.toml", settings.parent / "pool-smollm2.toml")
    shutil.copy(ROOT / "fleet" / "example_prices.toml", settings.parent / "prices.toml")
    # Three minutes are too long for a test; everything else stays as it is shipped.
    change = root / "etc/systemd/system" / f"{CONSUMER}.service.d" / "quick.conf"
    with booted(root, EC2 / "systemd") as made:
        change.parent.mkdir()
        change.write_text(f"[Service]\nWatchdogSec={WATCHDOG_S}\nRestartSec=1\n")
        made.run("systemctl", "daemon-reload")
        yield made


async def test_a_consumer_starts_works_hangs_dies_and_drains_under_systemd(
    machine: Booted, nats_url: str, unique: str
) -> None:
    async with connected(nats_url) as connection:
        await provision(connection, ["smollm2"])
        asker = Asker(connection, unique)
        # A start is over when it works, not when the process is there.
        machine.run("systemctl", "start", CONSUMER)
        assert machine.show(CONSUMER, "StatusText") == "working"
        assert await asker.ask("batch", chat("hello"))

        frozen = machine.show(CONSUMER, "MainPID")
        time.sleep(1.5 * WATCHDOG_S)  # noqa: ASYNC251 - a watchdog that is fed does nothing
        assert machine.show(CONSUMER, "MainPID") == frozen
        machine.run("kill", f"-{signal.SIGSTOP}", frozen)
        machine.until(CONSUMER, "NRestarts", "1")
        machine.until(CONSUMER, "StatusText", "working")
        assert await asker.ask("batch", chat("after a hang"))

        machine.run("kill", f"-{signal.SIGKILL}", machine.show(CONSUMER, "MainPID"))
        machine.until(CONSUMER, "NRestarts", "2")
        machine.until(CONSUMER, "StatusText", "working")

        receipt = await asker.publish("batch", chat("under way", tokens=400))
        machine.run("systemctl", "stop", CONSUMER)
        assert machine.show(CONSUMER, "Result") == "success"
        machine.run("systemctl", "start", CONSUMER)
        lines = await asker.lines(f"{receipt.stream}-{receipt.sequence}", bound_s=60)
        assert len(lines) == 1


async def test_the_control_plane_runs_in_its_sandbox(machine: Booted, nats_url: str) -> None:
    async with connected(nats_url) as connection:
        await provision(connection, ["smollm2"])
    for unit in CONTROL:
        machine.run("systemctl", "start", unit)
    machine.run("systemctl", "reload", "overbook-nats")
    for unit in CONTROL:
        time.sleep(2)  # noqa: ASYNC251 - one that ends does so in its first moments
        assert machine.show(unit, "SubState") == "running"
        assert machine.show(unit, "NRestarts") == "0"
        machine.run("systemctl", "stop", unit)
        assert machine.show(unit, "Result") == "success"
