"""A systemd of the tests' own: the first process of namespaces in which only our units are."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fleet.broker.server import find_server
from fleet.children import die_with_parent
from tests.deploy.cluster import ROOT

BOUND_S = 60.0
CGROUPS = Path("/sys/fs/cgroup")
SYSTEMD = Path("/lib/systemd/systemd")
PASSWD = "root:x:0:0::/root:/bin/sh\noverbook:x:990:990::/var/lib/overbook:/usr/sbin/nologin\n"
GROUP = "root:x:0:\noverbook:x:990:\n"
# What a unit starts: the product as it is here, with an engine that needs no GPU.
FLEET = """\
#!/bin/bash
[[ $1 == consumer ]] && set -- "$@" --engine scripted --token-rate 20
cd /opt/source
export PYTHONPATH=/opt/source:/opt/site PYTHONDONTWRITEBYTECODE=1 LD_LIBRARY_PATH=/opt/python/lib
exec /opt/python/bin/python3 -m fleet "$@"
"""


def why_not() -> str | None:
    """Say why no systemd can be booted here; None if it can."""
    if os.geteuid() != 0:
        return "only root may make the namespaces for a systemd of its own"
    if not SYSTEMD.exists() or shutil.which("nsenter") is None:
        return "systemd is not installed"
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "true"],
        capture_output=True, check=False,
    )  # fmt: skip
    return None if tried.returncode == 0 else f"namespaces: {tried.stderr.decode().strip()}"


class Booted:
    """A running systemd. pid: of its first process, as it is known outside."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def run(self, *command: str) -> str:
        """Run a command in there; returns what it said. Fails with the log if the command does."""
        done = self._enter(*command)
        assert done.returncode == 0, f"{command}: {done.stderr}\n{self.log()}"
        return done.stdout

    def is_up(self) -> bool:
        """Whether systemd has started what it was told to."""
        return self._enter("systemctl", "is-active", "overbook-test.target").returncode == 0

    def log(self) -> str:
        """Return the end of what all units said."""
        return self._enter("journalctl", "--no-pager", "--lines", "40", "--output", "cat").stdout

    def _enter(self, *command: str) -> "subprocess.CompletedProcess[str]":
        enter = ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--ipc", "--cgroup"]
        return subprocess.run(
            [*enter, *command], capture_output=True, text=True, timeout=BOUND_S, check=False
        )

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", unit, "--property", name, "--value").strip()

    def until(self, unit: str, name: str, wanted: str) -> None:
        """Wait until a property has a value."""
        give_up = time.monotonic() + BOUND_S
        while (now := self.show(unit, name)) != wanted:
            assert time.monotonic() < give_up, f"{unit}: {name} is {now} and not {wanted}"
            time.sleep(0.1)  # systemd tells no one when it changes


@contextmanager
def booted(root: Path, units: Path) -> Iterator[Booted]:
    """Boot systemd with copies of units; nothing of it is left afterwards."""
    _furnish(root, units)
    groups = [place / f"overbook-test-{os.getpid()}" for place in _hierarchies()]
    for group in groups:
        group.mkdir()

    def enter() -> None:
        die_with_parent()
        for group in groups:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    places = [sys.base_prefix, sysconfig.get_path("purelib"), str(ROOT)]
    process = subprocess.Popen(
        ["unshare", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child",
         str(Path(__file__).with_name("boot.sh")), str(root), *places],
        preexec_fn=enter,
    )  # fmt: skip
    try:
        machine = Booted(_first_child(process))
        _wait_for(machine)
        yield machine
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        for group in groups:
            _remove(group)


def _furnish(root: Path, units: Path) -> None:
    system = root / "etc" / "systemd" / "system"
    system.mkdir(parents=True)
    for unit in units.iterdir():
        shutil.copy(unit, system)
    # Nothing of this machine's is started but the log.
    for target in ("overbook-test", "basic", "sysinit", "shutdown"):
        (system / f"{target}.target").write_text(
            "[Unit]\nDefaultDependencies=no\nWants=systemd-journald.service\n"
        )
    for name in ("service", "socket"):
        shutil.copy(f"/usr/lib/systemd/system/systemd-journald.{name}", system)
    for name, text in {"passwd": PASSWD, "group": GROUP, "machine-id": "d" * 32 + "\n"}.items():
        (root / "etc" / name).write_text(text)
    for name in ("ld.so.cache", "nsswitch.conf"):
        if Path("/etc", name).exists():
            shutil.copy(Path("/etc", name), root / "etc")
    for folder in ("opt/overbook/bin", "opt/overbook/venv/bin", "var/lib", "var/cache"):
        (root / folder).mkdir(parents=True)
    shutil.copy(ROOT / "deploy/ec2/place", root / "opt/overbook/bin")
    program = root / "opt/overbook/venv/bin/fleet"
    program.write_text(FLEET)
    program.chmod(0o755)
    shutil.copy(find_server(os.environ), program.with_name("nats-server"))
    # The folder of a test is its owner's alone, and a unit is another user.
    root.chmod(0o755)


def _hierarchies() -> list[Path]:
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    # Those that need settings before a process may enter are of no use to a unit.
    return [one for one in CGROUPS.iterdir() if one.is_dir() and one.name != "cpuset"]


def _first_child(process: "subprocess.Popen[bytes]") -> int:
    give_up = time.monotonic() + BOUND_S
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (found := children.read_text().split()):
        assert process.poll() is None, "no namespaces were made"
        assert time.monotonic() < give_up, "no systemd was started"
        time.sleep(0.05)  # a process tells no one that it has a child
    return int(found[0])


def _wait_for(machine: Booted) -> None:
    give_up = time.monotonic() + BOUND_S
    while not machine.is_up():
        assert time.monotonic() < give_up, "systemd did not come up"
        time.sleep(0.1)  # until its socket is there, nothing can be waited for


def _remove(group: Path) -> None:
    """Take a tree of cgroups away; its processes end a moment after their first one."""
    give_up = time.monotonic() + BOUND_S
    while group.exists():
        for path in sorted(group.rglob("*"), reverse=True):
            if path.is_dir():
                with suppress(OSError):
                    path.rmdir()
        with suppress(OSError):
            group.rmdir()
        assert time.monotonic() < give_up, f"{group} is still in use"
        time.sleep(0.05)
