"""`fleet sweep`: refuse the jobs that no durable will ever deliver."""

import os

import click
import msgspec

from fleet.cli import options
from fleet.errors import JobRejected


@click.command()
@options.nats
@click.option(
    "--every",
    type=click.FloatRange(0.1, 86_400),
    metavar="S",
    help="Go on for ever, with so many seconds in between; default: sweep once.",
)
@options.as_json
def command(nats: str | None, every: float | None, *, as_json: bool) -> None:
    """Find jobs for models that nobody serves and on subjects that are none, and refuse them.

    Each becomes a dead letter, and an error result where its sender can be told; jobs younger than
    two seconds are left alone. One line on stdout for each, with --json an object with `code` and
    `message`. `fleet up` sweeps by itself.
    """
    options.run(_sweep(nats, every, as_json=as_json))


async def _sweep(nats: str | None, every_s: float | None, *, as_json: bool) -> None:
    from fleet.broker.connection import connect  # noqa: PLC0415 - keeps --help quick
    from fleet.broker.context import find_target  # noqa: PLC0415
    from fleet.broker.eventlog import EventLog  # noqa: PLC0415
    from fleet.sweep import sweep, sweep_for_ever  # noqa: PLC0415

    def swept(causes: list[JobRejected]) -> None:
        for cause in causes:
            line = {"code": cause.code, "message": str(cause)}
            click.echo(msgspec.json.encode(line) if as_json else f"{cause.code}: {cause}")

    async with (
        connect(find_target(nats, os.environ), name="sweep") as connection,
        EventLog(connection) as events,
    ):
        if every_s is None:
            swept(await sweep(connection, emit=events.emit))
        else:
            await sweep_for_ever(connection, every_s=every_s, emit=events.emit, swept=swept)
