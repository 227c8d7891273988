"""`fleet cancel`: the end of one job."""

from typing import TYPE_CHECKING

import click
import msgspec

from fleet.cli import options

if TYPE_CHECKING:
    from fleet.cancel import Cancelled


@click.command("cancel")
@click.argument("job")
@click.option("--batch", metavar="NAME", help="The batch that it belongs to; only to find it.")
@options.nats
@options.tenant
@options.as_json
def command(*, job: str, batch: str | None, nats: str | None, tenant: str, as_json: bool) -> None:
    """End the job with the id JOB, whether it waits or runs.

    Items that are finished keep their results; the others get the error `cancelled`. A job that has
    ended stays as it is. Exit code 4 for one that is neither queued nor has results.

    With --json: an object with `state` (queued or running: it ends now; finished; cancelled: it was
    before), `tenant`, `job`, `batch`, `items_done` and `items`.
    """
    found = options.run(_cancel(nats, tenant, job, batch))
    click.echo(msgspec.json.encode(found) if as_json else _text(found))


async def _cancel(url: str | None, tenant: str, job: str, batch: str | None) -> "Cancelled":
    from dashboard.acting import OnJob
    from fleet.cancel import cancel
    from fleet.cli.audit import ending
    from fleet.cli.reached import reached

    async with (
        reached(url, name="fleet-cancel") as connection,
        ending(connection, OnJob(tenant=tenant, job=job, batch=batch)) as act,
    ):
        found = await cancel(connection, tenant=tenant, job=job, batch=batch)
        act.result = _text(found)
        return found


def _text(found: "Cancelled") -> str:
    match found.state:
        case "queued":
            return f"{found.job} is cancelled; it was waiting"
        case "running":
            return f"{found.job} is cancelled; what it has finished ({found.items_done}) stays"
        case "finished":
            return f"{found.job} is finished already, nothing changed"
        case "cancelled":
            return f"{found.job} was cancelled before, nothing changed"
