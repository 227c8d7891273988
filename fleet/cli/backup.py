"""`fleet backup` and `fleet restore`: a copy of the broker, and back."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from fleet.cli import options

if TYPE_CHECKING:
    from fleet.backup import Kept, Listing

_folder = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))


@click.command("backup")
@_folder
@options.as_json
@options.nats
def backup(folder: Path, *, as_json: bool, nats: str | None) -> None:
    """Copy queues, claims, batches, events and results into a new FOLDER, while the fleet works.

    Heartbeats and live tokens are left out. FOLDER is there once all of it is: a run that breaks
    off leaves FOLDER.unfinished. It holds prompts and answers, so only its owner may read it.

    JSON: {"at", "server", "streams": [{"stream", "messages", "size", "sha256"}]}
    """
    _show(options.run(_back_up(folder, nats)), as_json=as_json)


@click.command("restore")
@_folder
@click.option(
    "--replicas",
    type=click.IntRange(1, 5),
    metavar="N",
    help="How many servers keep each stream; as many as before if it is not said.",
)
@click.option("--only-missing", is_flag=True, help="Leave the streams that are there alone.")
@options.as_json
@options.nats
def restore(
    *, folder: Path, replicas: int | None, only_missing: bool, as_json: bool, nats: str | None
) -> None:
    """Put the streams of a backup into a broker that has none of them.

    Every byte is checked before the first is sent. Stop consumers and producers before; afterwards
    `fleet init` makes what a backup leaves out. What ended since the backup was made is done again.
    A run that breaks off leaves whole streams, and --only-missing goes on with the others.
    """
    work = _put_back(folder, nats, replicas=replicas, only_missing=only_missing)
    _show(options.run(work), as_json=as_json)


async def _back_up(folder: Path, url: str | None) -> "Listing":
    from fleet.backup import back_up
    from fleet.cli.reached import reached

    async with reached(url, name="fleet-backup") as connection:
        return await back_up(connection, folder, _tell)


async def _put_back(
    folder: Path, url: str | None, *, replicas: int | None, only_missing: bool
) -> "Listing":
    from fleet.backup import put_back
    from fleet.cli.reached import reached

    async with reached(url, name="fleet-restore") as connection:
        return await put_back(
            connection, folder, _tell, replicas=replicas, only_missing=only_missing
        )


def _tell(kept: "Kept") -> None:
    click.echo(f"{kept.stream}: {kept.messages} messages, {kept.size} bytes", err=True)


def _show(listing: "Listing", *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(listing))
    else:
        messages = sum(kept.messages for kept in listing.streams)
        click.echo(f"{len(listing.streams)} streams, {messages} messages")
