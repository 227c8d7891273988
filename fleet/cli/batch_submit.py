"""`fleet batch submit`: check a file of requests, and put all of it into the queue."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Final

import click

from fleet.batch_file import DEFAULT_CHUNK, INLINE, UPLOADED, Survey, bodies, parts, survey
from fleet.batches import Batches, draft
from fleet.broker.connection import Connection
from fleet.claim_check import check_in
from fleet.cli import options, stores
from fleet.cli.batch_view import exit_code, print_status, problems_json, problems_text, watched
from fleet.cli.progress import Measured, slow
from fleet.cli.reached import reached
from fleet.cli.served import require_served
from fleet.cli.times import Length
from fleet.errors import UsageError
from fleet.job import MAX_ITEMS
from fleet.manifest import Manifest

WRONG: Final = 2
_NAME_LENGTH: Final = 200


@click.command("submit", short_help="Check a file and queue all of it; print the batch's name.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", metavar="NAME", help="Served name; without it the bodies' `model` counts.")
@click.option("--batch", metavar="NAME", help="A name for it; without one it is a digest.")
@click.option(
    "--chunk",
    type=click.IntRange(1, MAX_ITEMS),
    metavar="N",
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
        with slow() as report:
            measured = Measured(lines, report)
            found = survey(measured, model=model, chunk=chunk, limits=limits)
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


async def _submit(
    plan: Manifest, found: Survey, lines: BinaryIO, *, nats: str | None, wait: bool, as_json: bool
) -> int:
    lines.seek(0)
    async with reached(nats, name="fleet-batch") as connection:
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
        last = await (watched(batches, manifest.id) if wait else batches.status(manifest.id))
    print_status(last, as_json=as_json)
    return exit_code(last)


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


def _opened(file: Path) -> BinaryIO:
    try:
        lines = file.open("rb")
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    if not lines.seekable():
        lines.close()
        raise UsageError(f"{file} is read twice, which a pipe does not allow: save it first")
    return lines
