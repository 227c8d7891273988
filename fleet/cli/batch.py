"""`fleet batch`: a file of requests in, two files of answers out."""

import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import click
import msgspec

from fleet.batch_file import DEFAULT_CHUNK, INLINE, UPLOADED, Survey, bodies, parts, survey
from fleet.batch_status import BatchStatus
from fleet.batches import Batches, draft
from fleet.broker.connection import Connection, connect
from fleet.broker.context import find_target
from fleet.claim_check import check_in
from fleet.cli import options, stores
from fleet.cli.batch_view import (
    manifests_text,
    problems_json,
    problems_text,
    progress,
    status_text,
    warnings,
)
from fleet.cli.served import require_served
from fleet.cli.times import Length
from fleet.errors import FleetError, UsageError
from fleet.job import MAX_ITEMS
from fleet.manifest import Manifest

WRONG: Final = 2
SOME_FAILED: Final = 3
_NAME_LENGTH: Final = 200

T = TypeVar("T")


@click.group("batch")
def command() -> None:
    """Files of requests in OpenAI's batch format."""


batch_argument = click.argument("batch")


@command.command("submit")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", metavar="NAME", help="Served name; without it the bodies' `model` counts.")
@click.option("--batch", metavar="NAME", help="A name for it; without one it is a digest.")
@click.option(
    "--chunk",
    type=click.IntRange(1, MAX_ITEMS),
    default=DEFAULT_CHUNK,
    show_default=True,
    help="The most requests in one job.",
)
@click.option(
    "--window",
    "window_s",
    type=Length(),
    metavar="LENGTH",
    help="Finish within that time, such as 24h; what is left then expires.",
)
@click.option(
    "--via",
    type=click.Choice(stores.CHOICES),
    default="inline",
    show_default=True,
    help="Put the requests into the queue, or upload FILE once to the broker's object store or to "
    "FLEET_S3_BUCKET and queue what points there. `auto` uploads a file over 32 MiB.",
)
@click.option("--wait", "--watch", "wait", is_flag=True, help="Stay until it is complete.")
@options.nats
@options.tenant
@options.as_json
def submit(
    *,
    file: Path,
    model: str | None,
    batch: str | None,
    chunk: int,
    window_s: float | None,
    via: stores.Choice,
    wait: bool,
    nats: str | None,
    tenant: str,
    as_json: bool,
) -> int:
    """Check FILE and put all of it into the queue; print the batch's name.

    The same command again goes on where it stopped, and does nothing if all is there.
    """
    how = stores.chosen(via, file)
    with _opened(file) as lines:
        limits = INLINE if how == "inline" else UPLOADED
        found = survey(lines, model=model, chunk=chunk, limits=limits)
        if found.problems:
            if as_json:
                click.echo(problems_json(found.problems))
            click.echo(problems_text(str(file), found.problems), err=True)
            click.echo(f"fleet: {len(found.problems)} bad lines; nothing was submitted", err=True)
            return WRONG
        if found.model is None:
            raise UsageError("neither --model nor the file says which model to use")
        plan = draft(
            found,
            tenant=tenant,
            model=found.model,
            batch=batch,
            input_name=file.name[:_NAME_LENGTH],
            now=time.time(),
            completion_window_s=window_s,
            via=how,
        )
        return options.run(_submit(plan, found, lines, nats=nats, wait=wait, as_json=as_json))


@command.command("status")
@batch_argument
@options.nats
@options.tenant
@options.as_json
def status(*, batch: str, nats: str | None, tenant: str, as_json: bool) -> None:
    """Say how far a batch is."""
    _print(_with(nats, tenant, lambda batches: batches.status(batch)), as_json=as_json)


@command.command("watch")
@batch_argument
@options.nats
@options.tenant
@options.as_json
def watch(*, batch: str, nats: str | None, tenant: str, as_json: bool) -> int:
    """Stay until a batch is complete; exit with 3 if some of it failed."""
    last = _with(nats, tenant, lambda batches: _watched(batches, batch))
    _print(last, as_json=as_json)
    return _code(last)


@command.command("results")
@batch_argument
@click.option(
    "--dir",
    "folder",
    type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
    default=".",
    show_default=True,
    help="Where to write <batch>_output.jsonl and <batch>_errors.jsonl.",
)
@click.option("--with-fleet", is_flag=True, help="Also write how each request was served.")
@options.nats
@options.tenant
@options.as_json
def results(
    *, batch: str, folder: Path, with_fleet: bool, nats: str | None, tenant: str, as_json: bool
) -> int:
    """Write what is there, in the order of the input; exit with 3 if some failed or is missing."""
    try:
        collected = _with(
            nats, tenant, lambda batches: batches.collect(batch, folder, with_fleet=with_fleet)
        )
    except OSError as error:
        raise FleetError(f"the results of {batch} could not be written: {error}") from error
    if as_json:
        click.echo(
            msgspec.json.encode(
                {
                    "output_file": str(collected.files.output),
                    "error_file": str(collected.files.errors),
                    "missing": collected.missing,
                    "batch": collected.status,
                }
            )
        )
    else:
        click.echo(f"{collected.files.output}\n{collected.files.errors}")
    counts = collected.status.request_counts
    click.echo(f"{counts.completed} answers, {counts.failed} errors", err=True)
    for warning in warnings(collected.status):
        click.echo(warning, err=True)
    if collected.missing:
        click.echo(f"{collected.missing} of {counts.total} requests are not done yet", err=True)
    return SOME_FAILED if collected.missing or counts.failed else 0


@command.command("cancel")
@batch_argument
@options.nats
@options.tenant
@options.as_json
def cancel(*, batch: str, nats: str | None, tenant: str, as_json: bool) -> None:
    """End a batch: what is not done gets an error line. A complete one stays as it is."""
    _print(_with(nats, tenant, lambda batches: batches.cancel(batch)), as_json=as_json)


@command.command("ls")
@options.nats
@options.tenant
@options.as_json
def ls(*, nats: str | None, tenant: str, as_json: bool) -> None:
    """List the batches, oldest first."""
    found = _with(nats, tenant, lambda batches: batches.ls())
    if as_json:
        for manifest in found:
            click.echo(msgspec.json.encode(manifest))
    else:
        click.echo(manifests_text(found))


async def _submit(
    plan: Manifest, found: Survey, lines: BinaryIO, *, nats: str | None, wait: bool, as_json: bool
) -> int:
    lines.seek(0)
    async with connect(find_target(nats, os.environ), name="fleet-batch") as connection:
        await require_served(connection, plan.model)
        batches = Batches(connection, tenant=plan.tenant)
        jobs = await _jobs(connection, plan, found, lines)
        manifest = await batches.submit(plan, jobs, on_progress=_report)
        click.echo(
            f"{manifest.id}: {manifest.items} requests in {manifest.jobs} jobs are submitted; "
            f"`fleet batch results {manifest.id}` collects the answers",
            err=True,
        )
        if not (wait or as_json):
            click.echo(manifest.id)
            return 0
        last = await (_watched(batches, manifest.id) if wait else batches.status(manifest.id))
    _print(last, as_json=as_json)
    return _code(last)


async def _jobs(
    connection: Connection, plan: Manifest, found: Survey, lines: BinaryIO
) -> Iterable[bytes]:
    """Make the jobs' bodies; where they point elsewhere, that is uploaded first."""
    if plan.via == "inline":
        return bodies(lines, found)
    store = stores.opened(plan.via, connection)
    return await check_in(store, plan.tenant, parts(lines, found))


def _report(manifest: Manifest) -> None:
    if manifest.submitted_jobs < manifest.jobs:
        click.echo(
            f"{manifest.id}: {manifest.submitted_jobs} of {manifest.jobs} jobs submitted", err=True
        )


async def _watched(batches: Batches, batch: str) -> BatchStatus:
    """Show progress until the batch is complete."""
    async with aclosing(batches.watch(batch)) as statuses:
        with progress() as show:
            async for each in statuses:
                show(each)
    return each


def _opened(file: Path) -> BinaryIO:
    try:
        lines = file.open("rb")
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    if not lines.seekable():
        lines.close()
        raise UsageError(f"{file} is read twice, which a pipe does not allow: save it first")
    return lines


def _with(
    nats: str | None, tenant: str, action: Callable[[Batches], Coroutine[object, object, T]]
) -> T:
    """Run one action on a tenant's batches."""

    async def run() -> T:
        async with _batches(nats, tenant) as batches:
            return await action(batches)

    return options.run(run())


@asynccontextmanager
async def _batches(nats: str | None, tenant: str) -> AsyncIterator[Batches]:
    async with connect(find_target(nats, os.environ), name="fleet-batch") as connection:
        yield Batches(connection, tenant=tenant)


def _print(status: BatchStatus, *, as_json: bool) -> None:
    click.echo(msgspec.json.encode(status) if as_json else status_text(status))


def _code(status: BatchStatus) -> int:
    is_bad = status.request_counts.failed or status.status == "cancelled"
    return SOME_FAILED if is_bad else 0
