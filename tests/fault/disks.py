"""A disk that can lose its power: ext4 in a file, on a loop device. For root on Linux only."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NEEDED = ("losetup", "mkfs.ext4", "mount", "umount", "e2fsck")
SIZE_MIB = 192
BOUND_S = 30


def missing() -> str | None:
    """Say why there can be no such disk here, or None if there can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "a power cut needs root, for a loop device of its own"
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent:
        return f"a power cut needs {', '.join(absent)}"
    try:
        _run("losetup", "--find")
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return "a power cut needs a free loop device"
    return None


@contextmanager
def disk(image: Path, folder: Path, *, new: bool) -> Iterator[None]:
    """Mount the file system in `image` at `folder`; a new one is made first."""
    if new:
        with image.open("wb") as file:
            file.truncate(SIZE_MIB * 1024 * 1024)
        _run("mkfs.ext4", "-q", "-F", str(image))
    else:
        # What the power cut left is put in order, as it is at boot; 1: it was, and is now.
        subprocess.run(
            ["e2fsck", "-p", str(image)], capture_output=True, timeout=BOUND_S, check=False
        )
    folder.mkdir()
    _run("mount", "-o", "loop", str(image), str(folder))
    try:
        yield
    finally:
        _run("umount", "--lazy", str(folder))


def what_a_power_cut_leaves(image: Path, copy: Path) -> None:
    """Copy the disk as it is: what only the page cache knows is not in it."""
    shutil.copyfile(image, copy)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=BOUND_S)
