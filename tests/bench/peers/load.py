"""The load that all sides carry."""

import sys
from typing import NamedTuple

JOB_BYTES = 1024
# What one of our result lines has, so that the others write as much.
RESULT_BYTES = 620
# Jobs in hand at a time, and jobs a pull.
SLOTS = 64
# Messages of one atomic publish, and publishes in flight of the sides that have none.
GROUP = 500
WINDOW = 64

JOB = "x" * JOB_BYTES
RESULT = "y" * RESULT_BYTES


class Names(NamedTuple):
    """The streams of one side, and the one subject of each."""

    jobs_stream: str
    results_stream: str
    jobs: str
    results: str


def names(side: str) -> Names:
    """Name what belongs to one of the other task queues."""
    return Names(f"JOBS_{side}", f"RESULTS_{side}", f"{side}.jobs", f"{side}.results")


def wait_for_go() -> None:
    """Say that all is prepared, and wait for the word."""
    print("ready", flush=True)  # noqa: T201 - it talks to its parent
    sys.stdin.readline()


def done() -> None:
    """Say that all is published."""
    print("done", flush=True)  # noqa: T201
