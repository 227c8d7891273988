"""How a batch looks: a few lines of text, JSON, or progress while it runs."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from typing import Final, Protocol

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from fleet.batch_file import Problem
from fleet.batch_status import BatchStatus, Pace
from fleet.batches import Batches
from fleet.cli.table import aligned
from fleet.cli.times import length
from fleet.manifest import Manifest
from fleet.subjects import plain, shown

# Without a terminal a line now and then is enough: it ends up in some log.
QUIET_S: Final = 5.0
SOME_FAILED: Final = 3


class Show(Protocol):
    """Takes each status as it is read."""

    def __call__(self, status: BatchStatus) -> None:
        """Show it, if it is worth it."""
        ...


def problems_text(file: str, problems: Sequence[Problem]) -> str:
    """Give every problem a line that editors can jump to."""
    return "\n".join(f"{file}:{each.line}: {each.code}: {each.message}" for each in problems)


def problems_json(problems: Sequence[Problem]) -> bytes:
    """Encode problems as the `errors` of OpenAI's batch object."""
    data = [
        {"code": each.code, "line": each.line, "message": each.message, "param": None}
        for each in problems
    ]
    return msgspec.json.encode({"errors": {"object": "list", "data": data}})


def status_text(status: BatchStatus) -> str:
    """Describe a batch in a few lines, and in one more for each thing that is odd."""
    counts, usage, fleet = status.request_counts, status.usage, status.fleet
    cost = "" if fleet.cost_usd is None else f", cost ${fleet.cost_usd:.4f}"
    lines = [
        f"{status.id}: {status.status}",
        f"  {counts.completed} completed and {counts.failed} failed of {counts.total} requests",
        f"  {usage.input_tokens} input and {usage.output_tokens} output tokens{cost}",
        f"  {fleet.interruptions} interruptions outlived",
    ]
    if fleet.submitted_jobs < fleet.jobs:
        lines.append(f"  {fleet.submitted_jobs} of {fleet.jobs} jobs submitted")
    lines += warnings(status)
    return "\n".join(lines)


def warnings(status: BatchStatus) -> list[str]:
    """Say what should not be there."""
    found: list[str] = []
    if status.fleet.duplicate_lines:
        found.append(
            f"  warning: {status.fleet.duplicate_lines} results of requests that had one; "
            "the first one counts"
        )
    if status.fleet.foreign_lines:
        found.append(
            f"  warning: {status.fleet.foreign_lines} results that belong to no request of it"
        )
    return found


def manifests_text(manifests: Sequence[Manifest]) -> str:
    """List batches in columns."""
    rows = [("BATCH", "STATE", "MODEL", "REQUESTS", "CREATED", "FILE")]
    rows += (
        (
            each.id,
            each.state,
            plain(each.model),
            str(each.items),
            datetime.fromtimestamp(each.created_at, UTC).strftime("%Y-%m-%d %H:%M:%SZ"),
            shown(each.input_name),
        )
        for each in manifests
    )
    return aligned(rows)


def print_status(status: BatchStatus, *, as_json: bool) -> None:
    """Write a status to stdout."""
    click.echo(msgspec.json.encode(status) if as_json else status_text(status))


def exit_code(status: BatchStatus) -> int:
    """Return the exit code of a command that has seen a batch's end."""
    is_bad = status.request_counts.failed or status.status == "cancelled"
    return SOME_FAILED if is_bad else 0


async def watched(batches: Batches, batch: str) -> BatchStatus:
    """Show progress until the batch is complete."""
    async with aclosing(batches.watch(batch)) as statuses:
        with progress() as show:
            async for each in statuses:
                show(each)
    return each


@contextmanager
def progress() -> Iterator[Show]:
    """Show progress on stderr: a bar on a terminal, else a line every few seconds."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[notes]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield _Bar(bar)


class _Lines:
    def __init__(self) -> None:
        self._pace = Pace()
        self._at = float("-inf")

    def __call__(self, status: BatchStatus) -> None:
        now = time.monotonic()
        notes = _notes(status, self._pace.eta_s(now, status.request_counts))
        if now - self._at >= QUIET_S:
            self._at = now
            counts = status.request_counts
            click.echo(f"{status.id}: {counts.done}/{counts.total} {notes}".rstrip(), err=True)


class _Bar:
    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._pace = Pace()
        self._task: TaskID | None = None

    def __call__(self, status: BatchStatus) -> None:
        counts = status.request_counts
        if self._task is None:
            self._task = self._bar.add_task(status.id, total=counts.total, notes="")
        eta_s = self._pace.eta_s(time.monotonic(), counts)
        self._bar.update(self._task, completed=counts.done, notes=_notes(status, eta_s))


def _notes(status: BatchStatus, eta_s: float | None) -> str:
    failed = f"{status.request_counts.failed} failed " if status.request_counts.failed else ""
    if status.status == "in_progress":
        return failed + ("" if eta_s is None else f"ETA {length(eta_s)}")
    return failed + status.status
