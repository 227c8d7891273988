"""`fleet batch`: a file of requests in, two files of answers out."""

from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from dashboard.acting import OnBatch
from fleet.batch_status import BatchStatus
from fleet.batches import Batches, Collected
from fleet.cli import options
from fleet.cli.audit import ending
from fleet.cli.batch_submit import submit
from fleet.cli.batch_view import (
    SOME_FAILED,
    exit_code,
    manifests_text,
    print_status,
    warnings,
    watched,
)
from fleet.cli.progress import slow
from fleet.cli.reached import reached
from fleet.errors import FleetError

T = TypeVar("T")


@click.group("batch")
def command() -> None:
    """Files of requests in OpenAI's batch format."""


command.add_command(submit)
batch_argument = click.argument("batch")


@command.command("status")
@batch_argument
@options.nats
@options.tenant
@options.as_json
def status(*, batch: str, nats: str | None, tenant: str, as_json: bool) -> None:
    """Say how far a batch is."""
    print_status(_with(nats, tenant, lambda batches: batches.status(batch)), as_json=as_json)


@command.command("watch", short_help="Stay until a batch is complete.")
@batch_argument
@options.nats
@options.tenant
@options.as_json
def watch(*, batch: str, nats: str | None, tenant: str, as_json: bool) -> int:
    """Stay until a batch is complete; exit with 3 if some of it failed."""
    last = _with(nats, tenant, lambda batches: watched(batches, batch))
    print_status(last, as_json=as_json)
    return exit_code(last)


@command.command("results", short_help="Write answers and errors into two files.")
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

    async def collect(batches: Batches) -> Collected:
        with slow() as report:
            return await batches.collect(
                batch, folder, with_fleet=with_fleet, told=partial(report, "jobs written")
            )

    try:
        collected = _with(nats, tenant, collect)
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
    print_status(options.run(_cancelled(nats, tenant, batch)), as_json=as_json)


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


async def _cancelled(nats: str | None, tenant: str, batch: str) -> BatchStatus:
    async with (
        reached(nats, name="fleet-batch") as connection,
        ending(connection, OnBatch(tenant=tenant, batch=batch)) as act,
    ):
        status = await Batches(connection, tenant=tenant).cancel(batch)
        act.result = f"it is {status.status}"
        return status


def _with(
    nats: str | None, tenant: str, action: Callable[[Batches], Coroutine[object, object, T]]
) -> T:
    """Run one action on a tenant's batches."""

    async def run() -> T:
        async with reached(nats, name="fleet-batch") as connection:
            return await action(Batches(connection, tenant=tenant))

    return options.run(run())
