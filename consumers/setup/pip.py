"""Running pip: its output becomes progress, its failures become causes with remedies."""

import subprocess
import sys
import threading
from collections.abc import Sequence

from consumers.setup.report import Report
from fleet.errors import UsageError

_CAUSES = (
    ("No space left on device", "the disk is full: free some space, then run it again"),
    (
        "externally-managed-environment",
        "this Python is the operating system's: make a virtual environment and install there",
    ),
    ("Permission denied", "this environment is not yours to write: use a virtual environment"),
    (
        "No matching distribution found",
        "there is no build for this Python and machine: use Python 3.11 to 3.13 on 64-bit Linux",
    ),
    ("No module named pip", "this environment has no pip: run `python -m ensurepip`"),
    ("hash", "what was downloaded is not what was expected: check pip's index"),
)
_NETWORK = (
    "ConnectionError", "NewConnectionError", "Max retries exceeded", "Read timed out",
    "Temporary failure in name resolution", "ProxyError", "SSLError",
)  # fmt: skip


def pip_install(arguments: Sequence[str], *, what: str, report: Report, total: int) -> None:
    """Run `pip install` in this environment. Raises UsageError with pip's cause and a remedy.

    what: names the step. total: the number of packages that pip is going to look at.
    """
    command = [
        sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input",
        "--progress-bar", "off", *arguments,
    ]  # fmt: skip
    with (
        report.step(what, total=total) as step,
        subprocess.Popen(  # noqa: S603 - our own arguments
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as pip,
    ):
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.extend(pip.stderr or ()), daemon=True)
        reader.start()
        for line in pip.stdout or ():
            if line.startswith(("Collecting", "Requirement already satisfied")):
                step.advance()
            if note := progress(line):
                step.note(note)
        pip.wait()
        reader.join()
        if pip.returncode:
            raise UsageError(f"{what} failed: {explain(errors)}")


def progress(line: str) -> str | None:
    """Return what of a line of pip's is worth showing."""
    word, _, rest = line.strip().partition(" ")
    match word:
        case "Collecting":
            return rest.partition("==")[0]
        case "Downloading":
            return f"downloading {rest.rpartition('/')[2]}"
        case "Installing":
            return "unpacking: this takes half a minute"
        case _:
            return None


def explain(errors: Sequence[str]) -> str:
    """Find the cause in what pip wrote on stderr, and say what to do about it."""
    text = "".join(errors)
    # pip also says that there is no distribution when it could not ask for one.
    if any(sign in text for sign in _NETWORK):
        return "no package index could be reached: check the network and proxy, then run it again"
    said = [line.strip() for line in errors if line.startswith("ERROR:")]
    last = said[-1].removeprefix("ERROR: ") if said else text.strip()[-300:] or "pip said nothing"
    remedy = next((remedy for sign, remedy in _CAUSES if sign in text), None)
    return f"{last}; {remedy}" if remedy else last
