"""`fleet doctor`: is the broker fit for the fleet?"""

import asyncio
import os
import time
from typing import TYPE_CHECKING, Final

import click
import msgspec

from fleet.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleet.broker.connection import Connection
    from fleet.broker.durables import DurableState
    from fleet.cli.checks import Report, Varz

MONITOR_S: Final = 5.0
LOOK_AGAIN_S: Final = 1.0
MAX_VARZ_BYTES: Final = 4 * 1024 * 1024


@click.command(name="doctor")
@click.option(
    "--model",
    "models",
    metavar="NAME",
    multiple=True,
    help="A model that should be served. Without it: all that have durables.",
)
@click.option(
    "--ack-wait",
    "ack_wait_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    envvar="FLEET_ACK_WAIT_S",
    show_envvar=True,
    default=10.0,
    show_default=True,
    help="The ack wait in seconds that the durables should have.",
)
@click.option(
    "--monitor",
    metavar="URL",
    help="The server's monitoring address, such as http://127.0.0.1:8222, to see its sync setting.",
)
@options.as_json
@options.nats
@click.pass_context
def command(
    context: click.Context,
    *,
    models: tuple[str, ...],
    ack_wait_s: float,
    monitor: str | None,
    as_json: bool,
    nats: str | None,
) -> None:
    """Check version, JetStream, streams, durables, stuck jobs, blob stores, sync setting, clock.

    Prints one line a check: ok, failed or unknown, what was found, and the remedy. Changes nothing.
    Exit code 1 if a check failed; unknown is no failure.

    \b
    JSON: {"ok": bool, "origin": where the address came from,
           "checks": [{"name", "state": "ok" | "failed" | "unknown", "detail", "remedy"}]}
    """  # noqa: D301 - \b keeps click from joining the lines
    report = options.run(_examine(models, ack_wait_s=ack_wait_s, monitor=monitor, url=nats))
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        for check in report.checks:
            remedy = f" -> {check.remedy}" if check.remedy else ""
            click.echo(f"{check.state:7} {check.name}: {check.detail}{remedy}")
    context.exit(0 if report.ok else 1)


async def _examine(
    models: tuple[str, ...], *, ack_wait_s: float, monitor: str | None, url: str | None
) -> "Report":
    from fleet.broker.context import find_target
    from fleet.broker.provision import drift, served_models
    from fleet.cli import checks
    from fleet.cli.reached import reached
    from fleet.cli.store_checks import examine_stores

    varz = None if monitor is None else await asyncio.to_thread(varz_of, monitor)
    async with reached(url, name="fleet-doctor") as connection:
        served = models or await served_models(connection)
        drifts = await drift(connection, served, ack_wait_s)
        api = (await connection.api("INFO")).get("api")
        verdicts = [
            checks.check_version(connection.server_version),
            checks.check_api_level(api.get("level") if isinstance(api, dict) else None),
            *checks.check_topology(drifts, served),
            *checks.check_queues(await _queues(connection, served)),
            *await examine_stores(connection),
            checks.check_sync(
                varz.jetstream.config if varz else None, replicas=await _replicas(connection)
            ),
            checks.check_clock(await _clock_ahead_s(connection)),
        ]
    failed = any(check.state == "failed" for check in verdicts)
    return checks.Report(ok=not failed, origin=find_target(url, os.environ).origin, checks=verdicts)


async def _clock_ahead_s(connection: "Connection") -> float | None:
    """Measure how far our clock is ahead of the server's; None where there is no stream to ask."""
    from fleet.broker.clock import server_time
    from fleet.errors import BrokerRefused
    from fleet.subjects import RESULTS

    asked = time.time()
    try:
        server = await server_time(connection, RESULTS)
    except BrokerRefused:
        return None
    return (asked + time.time()) / 2 - server


async def _queues(connection: "Connection", models: "Sequence[str]") -> "Sequence[DurableState]":
    """Read how the queues stand; the figures come one by one, so an odd one is read again."""
    from fleet.broker.durables import all_durable_states

    first = await all_durable_states(connection, models)
    if not any(state.stuck for state in first):
        return first
    await asyncio.sleep(LOOK_AGAIN_S)
    second = await all_durable_states(connection, models)
    calm = {state.name for state in first if not state.stuck}
    # What was stuck at one look only was on the move.
    return [
        msgspec.structs.replace(state, stored=0) if state.name in calm and state.stuck else state
        for state in second
    ]


async def _replicas(connection: "Connection") -> int:
    """Read how many servers keep the results; 1 where the stream is missing."""
    from fleet.broker.connection import ApiError
    from fleet.subjects import RESULTS

    try:
        config = (await connection.api(f"STREAM.INFO.{RESULTS}")).get("config")
    except ApiError:
        return 1
    return int(config.get("num_replicas", 1)) if isinstance(config, dict) else 1


def varz_of(monitor: str) -> "Varz":
    """Read a server's `/varz`. Raises UsageError, BrokerUnreachable."""
    from urllib.error import URLError
    from urllib.request import urlopen

    from fleet.cli.checks import Varz
    from fleet.errors import BrokerUnreachable, UsageError

    if not monitor.startswith(("http://", "https://")):
        raise UsageError(f"--monitor {monitor!r} is no http address such as http://127.0.0.1:8222")
    address = f"{monitor.rstrip('/')}/varz"
    try:
        with urlopen(address, timeout=MONITOR_S) as reply:  # noqa: S310 - http only, see above
            return msgspec.json.decode(reply.read(MAX_VARZ_BYTES), type=Varz)
    except (URLError, OSError, ValueError, msgspec.MsgspecError, RecursionError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise BrokerUnreachable(
            f"the monitor {address} gave no answer ({reason}): check --monitor, or leave it out"
        ) from error
