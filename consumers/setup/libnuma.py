"""libnuma, the one library of the operating system that vLLM's CPU build needs."""

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from consumers.setup.report import Report
from fleet.errors import UsageError

NAME = "libnuma.so.1"
REMEDY = "install it with `sudo apt install libnuma1` (or your system's package of that name)"


def has_libnuma() -> bool:
    """Whether the system's loader finds it."""
    try:
        ctypes.CDLL(NAME)
    except OSError:
        return False
    return True


def own_libnuma(cache: Path) -> Path | None:
    """Return the copy that setup unpacked for want of the system's, if there is one."""
    return next((cache / "libnuma").rglob(NAME), None)


def load_libnuma(cache: Path) -> None:
    """Load setup's own copy into this process, and point processes started later to it."""
    if has_libnuma() or (own := own_libnuma(cache)) is None:
        return
    # The loader takes a library that is loaded already, by its name, wherever it came from.
    ctypes.CDLL(str(own), mode=ctypes.RTLD_GLOBAL)
    paths = [str(own.parent), os.environ.get("LD_LIBRARY_PATH", "")]
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, paths))


def ensure_libnuma(cache: Path, report: Report) -> None:
    """Make sure that it can be loaded. Raises UsageError where that takes a person.

    As root it is installed. Otherwise Debian's package is unpacked into the cache, where the engine
    looks for it.
    """
    if has_libnuma() or own_libnuma(cache):
        return
    if not shutil.which("apt-get"):
        raise UsageError(f"vLLM on a CPU needs {NAME}: {REMEDY}")
    with report.step(f"{NAME} from the system's packages"):
        if os.geteuid() == 0:
            _as_root()
        else:
            _unpack(cache / "libnuma")


def _as_root() -> None:
    install = ["apt-get", "install", "-y", "--no-install-recommends", "libnuma1"]
    if _run(install) != 0:
        # A fresh container has no package lists yet.
        _run(["apt-get", "update"])
        if _run(install) != 0:
            raise UsageError(f"apt-get could not install libnuma1: {REMEDY}")


def _unpack(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as work:
        if _run(["apt-get", "download", "libnuma1"], work) != 0:
            raise UsageError(f"{NAME} is missing and could not be downloaded: {REMEDY}")
        package = next(Path(work).glob("*.deb"))
        folder.mkdir(parents=True, exist_ok=True)
        if _run(["dpkg", "-x", str(package), str(folder)]) != 0:
            raise UsageError(f"{package.name} could not be unpacked into {folder}: {REMEDY}")


def _run(command: Sequence[str], folder: str | None = None) -> int:
    done = subprocess.run(  # noqa: S603 - our own arguments
        command,
        cwd=folder,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        capture_output=True,
        check=False,
    )
    return done.returncode
