"""`fleet metrics`: the numbers of a fleet as a whole, for Prometheus."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Never

import click

from fleet.cli import options
from fleet.cli.times import Length

if TYPE_CHECKING:
    from fleet.broker.connection import Connection, Message
    from fleet.metrics.fleet import FleetMetrics
    from fleet.metrics.survey import Monitored
    from fleet.pool.surveyor import Surveyor

REMEDY: Final = "give a free address with --listen"


@click.command()
@click.option("--listen", default="127.0.0.1:9108", show_default=True, metavar="HOST:PORT",
              help="Where /metrics, /livez and /readyz answer.")  # fmt: skip
@click.option("--monitor", metavar="URL",
              help="The server's monitoring address: its sync setting, its store.")  # fmt: skip
@click.option("--tenant", "tenants", multiple=True, metavar="NAME",
              help="A tenant to name in a label; all others are `other`.")  # fmt: skip
@click.option("--every", "every_s", type=click.FloatRange(1, 3600), default=10.0, metavar="S",
              show_default=True, help="Seconds between two looks.")  # fmt: skip
@click.option("--cost-window", "window_s", type=Length(), default="24h", show_default=True,
              metavar="LENGTH", help="How far back cost is told.")  # fmt: skip
@click.option("--cost-every", "cost_every_s", type=click.FloatRange(0, 86_400), default=300.0,
              metavar="S", show_default=True,
              help="Seconds between two looks at cost: it reads all events; 0: never.")  # fmt: skip
@click.option("--prices", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              metavar="FILE", help="Price book; default: the package's example.")  # fmt: skip
@options.nats
def command(**given: Any) -> None:
    """Tell Prometheus of queues, dead letters, nodes, pools and cost, until Ctrl-C.

    One is enough for a fleet; consumers and managers tell of themselves on FLEET_HEALTH_PORT. It
    reads, and changes nothing: the identity `metrics` suffices. While the broker is not reached it
    tells that, and no number.
    """
    options.run(_export(given))


async def _export(given: dict[str, Any]) -> None:
    from fleet import log as log_sink
    from fleet.cli.cost_prices import load_book
    from fleet.cli.reached import reached
    from fleet.cli.stopping import stopping
    from fleet.listening import Page, address_of, listening, verdict
    from fleet.metrics.fleet import FleetMetrics
    from fleet.pool.surveyor import Surveyor
    from fleet.settings import Settings

    settings = Settings.from_env(os.environ)
    log_sink.set_up(settings.log_format)
    host, port = address_of(given["listen"], what="--listen")
    async with reached(given["nats"], name="fleet-metrics") as connection:
        surveyor = Surveyor(
            connection,
            tenants=given["tenants"],
            ack_wait_s=settings.ack_wait_s,
            monitor=_monitored(given["monitor"]),
            book=load_book(given["prices"]),
            window_s=given["window_s"],
            cost_every_s=given["cost_every_s"],
        )
        metrics = FleetMetrics(lambda: connection.connected)
        pages = {
            "/metrics": metrics.page,
            "/livez": lambda: Page(b"ok\n"),
            "/readyz": lambda: verdict(metrics.unready()),
        }
        with ExitStack() as stack:
            bound = stack.enter_context(listening(pages, host=host, port=port, remedy=REMEDY))
            click.echo(f"http://{host}:{bound}/metrics", err=True)
            stop = stack.enter_context(stopping())
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(connection.closed()),
                    group.create_task(_look_for_ever(surveyor, metrics, given["every_s"])),
                    group.create_task(_listen(connection, metrics)),
                ]
                await stop.asked()
                for task in tasks:
                    task.cancel()


async def _look_for_ever(surveyor: "Surveyor", metrics: "FleetMetrics", every_s: float) -> Never:
    from fleet.errors import BrokerUnreachable

    while True:
        try:
            metrics.take(await surveyor.look())
        except BrokerUnreachable:
            metrics.lose()
        await asyncio.sleep(every_s)


async def _listen(connection: "Connection", metrics: "FleetMetrics") -> None:
    """Count events as they pass: `events.<kind>.<node>`."""
    from fleet.errors import BrokerUnreachable

    def hear(message: "Message") -> None:
        metrics.happened((*message.subject.split("."), "", "")[1])

    subscription = await connection.subscribe("events.>", hear)
    try:
        await asyncio.Event().wait()
    finally:
        with suppress(BrokerUnreachable):
            await subscription.unsubscribe()


def _monitored(monitor: str | None) -> Callable[[], Awaitable["Monitored | None"]]:
    """Return what asks the server's monitor; it knows nothing where there is none."""
    from fleet.cli.doctor import varz_of
    from fleet.metrics.survey import Monitored

    async def ask() -> Monitored | None:
        if monitor is None:
            return None
        stream = (await asyncio.to_thread(varz_of, monitor)).jetstream
        return Monitored(
            sync_always=stream.config.sync_always,
            stored_bytes=stream.stats.storage,
            limit_bytes=stream.config.max_storage,
        )

    return ask
