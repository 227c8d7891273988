"""`fleet sweep`: give an end to the jobs that no consumer will."""

import os
from typing import TYPE_CHECKING

import click
import msgspec

from fleet.cli import options
from fleet.subjects import plain

if TYPE_CHECKING:
    from fleet.sweep import Swept

# A job that looks stuck is watched for two ack waits before it is touched.
PATIENCE_S = 60.0


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
    """End what lies in the queues and that no consumer will ever end.

    Jobs for models that nobody serves and on subjects that are none are refused: a dead letter, and
    an error result where the sender can be told. Jobs past their deadline, or cancelled, get that
    as their result when no consumer lives to do it. Jobs that their durable gave up after a cap of
    deliveries become dead letters; those that it forgot are put back in the queue.

    One line on stdout for each, with --json an object with `code`, `message`, `subject` and `job`.
    Sweeping once takes up to a minute if something looks stuck. Two sweeps at once do no harm, and
    `fleet up` sweeps by itself. With --every it also serves what tenants with accounts of their own
    read of their jobs and results.
    """
    options.run(_sweep(nats, every, as_json=as_json))


async def _sweep(nats: str | None, every_s: float | None, *, as_json: bool) -> None:
    from fleet import log as log_sink
    from fleet.broker.beside import Beside
    from fleet.broker.eventlog import EventLog
    from fleet.broker.tenant_reads import serve_reads
    from fleet.cli.checks import trouble_of
    from fleet.cli.reached import reached
    from fleet.settings import Settings
    from fleet.sweep import Sweeper, sweep_for_ever, sweep_once

    settings = Settings.from_env(os.environ)
    if every_s is not None:
        log_sink.set_up(settings.log_format)

    def swept(done: "list[Swept]") -> None:
        for one in done:
            text = f"{plain(one.subject)} {one.job}: {one.code}: {one.message}"
            click.echo(msgspec.json.encode(one) if as_json else text)

    async with (
        reached(nats, name="sweep") as connection,
        EventLog(connection) as events,
    ):
        if every_s is not None:
            async with Beside(serve_reads(connection)):
                await sweep_for_ever(
                    connection,
                    every_s=every_s,
                    emit=events.emit,
                    swept=swept,
                    realtime_deadline_s=settings.realtime_deadline_s,
                    checkpoint_s=settings.checkpoint_s,
                )
        sweeper = Sweeper(
            connection,
            emit=events.emit,
            realtime_deadline_s=settings.realtime_deadline_s,
            checkpoint_s=settings.checkpoint_s,
        )
        is_told = False
        async for done in sweep_once(sweeper, patience_s=PATIENCE_S):
            swept(done)
            if sweeper.waits and not is_told:
                is_told = True
                text = f"something looks stuck: watching it, for {PATIENCE_S:.0f} s at most"
                click.echo(text, err=True)
        for state in sweeper.durables:
            if (trouble := trouble_of(state)) is not None:
                click.echo(f"{state.name}: {trouble.detail} -> {trouble.remedy}", err=True)
