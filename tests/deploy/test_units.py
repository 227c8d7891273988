"""systemd's units: systemd finds nothing wrong with them, nor do we."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.command import command as consumer
from fleet.cli.main import cli as fleet
from fleet.settings import Settings
from tests.deploy.cluster import ROOT, parsed
from tests.tools import requires_tool

EC2 = ROOT / "deploy" / "ec2"
UNITS = sorted((EC2 / "systemd").iterdir())
# systemd's own count of what a process could do that it need not, from 0 to 10.
MOST_EXPOSED = 2.5
NOTICE_S = 120


class Unit(dict[str, list[str]]):
    """The settings of a unit's [Service], each as often as it stands there."""

    def one(self, name: str) -> str:
        """Return what counts: the last."""
        return self[name][-1] if name in self else ""

    @property
    def environment(self) -> dict[str, str]:
        """Return what the unit itself sets."""
        words = " ".join(self.get("Environment", ())).split()
        return dict(word.split("=", 1) for word in words)


def read(path: Path) -> Unit:
    """Read one."""
    unit, section = Unit(), ""
    for line in path.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and line and not line.startswith("#"):
            name, _, value = line.partition("=")
            unit.setdefault(name, []).append(value)
    return unit


def complaints_of_systemd(path: Path, folder: Path) -> list[str]:
    """Let systemd verify a unit, with programs in the places that it names."""
    programs = folder / "opt" / "overbook"
    for name in ("bin/place", "venv/bin/fleet", "venv/bin/nats-server"):
        program = programs / name
        program.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("/bin/true", program)
    copy = folder / path.name
    copy.write_text(path.read_text().replace("/opt/overbook", str(programs)))
    verify = [requires_tool("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no"]
    done = subprocess.run(
        [*verify, str(copy)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stderr.splitlines()


def our_complaints(path: Path) -> Iterator[str]:
    """What systemd cannot know."""
    unit = read(path)
    if unit.one("Restart") != "always" or "StartLimitIntervalSec=0" not in path.read_text():
        yield "is not started again for ever"
    if unit.one("User") != "overbook" or unit.one("NoNewPrivileges") != "yes":
        yield "may be or become root"
    if unit.one("Type") == "notify" and not unit.one("WatchdogSec"):
        yield "has no watchdog"
    if "consumer" not in path.name:
        return
    if unit.one("KillMode") != "mixed":
        yield "sends SIGTERM to the engine, too"
    if unit.one("OOMPolicy") != "continue":
        yield "ends with its engine"
    settings = Settings.from_env(
        {name: value for name, value in unit.environment.items() if name.startswith("FLEET_")}
    )
    stop_s = int(unit.one("TimeoutStopSec") or 90)
    if not (settings.drain_s or 0) + settings.drain_reserve_s < stop_s < NOTICE_S:
        yield f"drains for {settings.drain_s} s and is killed after {stop_s} s of {NOTICE_S} s"
    if int(unit.one("WatchdogSec") or 0) <= settings.blocked_s:
        yield "is ended while a blocked loop still has its jobs"


def exposure(path: Path) -> float:
    """Return what systemd counts."""
    done = subprocess.run(
        [requires_tool("systemd-analyze"), "security", "--offline=yes", "--no-pager", str(path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done
    return float(found[1])


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_and_we_find_nothing_wrong_with_a_unit(path: Path, tmp_path: Path) -> None:
    assert complaints_of_systemd(path, tmp_path) == []
    assert list(our_complaints(path)) == []
    assert exposure(path) <= MOST_EXPOSED


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_our_programs_understand_their_arguments(path: Path) -> None:
    program, *arguments = read(path).one("ExecStart").split()
    if not program.endswith("/fleet"):
        return
    there = {
        "${CAPACITY_TYPE}": "spot",
        "${MODEL}": "smollm2",
        "${MODEL_PATH}": "/models",
        "%i": "smollm2",
        "/etc/overbook/pool-%i.toml": str(EC2 / "pool.toml"),
        "/etc/overbook/prices.toml": str(ROOT / "fleet" / "example_prices.toml"),
    }
    given = [there.get(argument, argument) for argument in arguments]
    if given[0] == "consumer":
        parsed(consumer, given[1:])
    else:
        parsed(fleet, given)


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("WatchdogSec=", "WatchdogSecs=", "'WatchdogSecs'"),
        ("Type=notify", "Type=notfy", "notfy"),
        ("ExecStart=", "#ExecStart=", "has no ExecStart="),
        ("/opt/overbook/venv/bin/fleet", "/opt/nowhere/fleet", "not executable"),
        ("RestartSec=20", "RestartSec=soon", "soon"),
    ],
)
def test_an_error_that_is_planted_is_found_by_systemd(
    right: str, wrong: str, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "planted" / "overbook-consumer.service"
    path.parent.mkdir()
    text = (EC2 / "systemd" / path.name).read_text()
    assert right in text
    path.write_text(text.replace(right, wrong))
    assert any(complaint in line for line in complaints_of_systemd(path, tmp_path))


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("KillMode=mixed", "KillMode=control-group", "SIGTERM to the engine"),
        ("TimeoutStopSec=110", "TimeoutStopSec=90", "killed after 90 s"),
        ("TimeoutStopSec=110", "TimeoutStopSec=600", "600 s of 120 s"),
        ("WatchdogSec=180", "WatchdogSec=60", "still has its jobs"),
        ("WatchdogSec=180\n", "", "has no watchdog"),
        ("Restart=always", "Restart=on-failure", "for ever"),
        ("OOMPolicy=continue", "OOMPolicy=stop", "ends with its engine"),
        ("User=overbook", "User=root", "root"),
    ],
)
def test_an_error_that_is_planted_is_found_by_us(
    right: str, wrong: str, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "overbook-consumer.service"
    text = (EC2 / "systemd" / path.name).read_text()
    assert right in text
    path.write_text(text.replace(right, wrong))
    assert any(complaint in line for line in our_complaints(path))
