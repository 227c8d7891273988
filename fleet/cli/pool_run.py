"""`fleet pool run`: the manager with the provider that was asked for, until it is stopped."""

import asyncio
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec

from fleet import log as log_sink
from fleet.broker.clock import ServerClock
from fleet.broker.connection import Connection
from fleet.broker.eventlog import EventLog
from fleet.broker.provision import provision
from fleet.cli.cost_prices import load_book
from fleet.cli.reached import reached
from fleet.cli.stopping import stopping
from fleet.cli.up import consumer_arguments, prepare_engine
from fleet.cli.watched import Watch, watched
from fleet.errors import UsageError
from fleet.events import AnyEvent, Emit, NodeGone, PoolActed, PoolDecided
from fleet.pool.guard import Guard, Limits
from fleet.pool.hands import Hands
from fleet.pool.knobs import Knobs
from fleet.pool.local import LocalPool, Plan
from fleet.pool.local_provider import Local
from fleet.pool.managed import LEASE_S, PRICES_USD_PER_HOUR, QUICK, TICK_S
from fleet.pool.quotes import BookQuotes, FlatQuotes, Quotes
from fleet.pool.reaper import Reaper
from fleet.pool.service import PoolPlan, clock_of, machines, manage, me
from fleet.pool.switches import Switches
from fleet.prices import PriceBook
from fleet.settings import Settings
from fleet.subjects import plain
from fleet.systemd import Unit

# After that long a consumer of a local pool that was told to drain is killed.
DRAIN_S = 40.0


class Parts(NamedTuple):
    """What differs from provider to provider. hasten: called by a second Ctrl-C."""

    plan: PoolPlan
    hands: Hands
    quotes: Quotes
    hasten: Callable[[], None] | None = None


class Ground(NamedTuple):
    """What every provider stands on."""

    connection: Connection
    url: str
    emit: Emit
    by: str
    clock: ServerClock
    given: Mapping[str, Any]


async def run_pool(given: Mapping[str, Any], changes: Mapping[str, str]) -> None:
    """Run the manager until Ctrl-C. changes: knobs that are set first."""
    settings = Settings.from_env(os.environ, nats=given["nats"])
    log_sink.set_up(settings.log_format)
    by = me()
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(reached(given["nats"], name=by))
        events = await stack.enter_async_context(EventLog(connection))
        watch = stack.enter_context(watched(settings, lambda: connection.connected))
        await provision(connection, [given["model"]], ack_wait_s=settings.ack_wait_s)

        def emit(event: AnyEvent) -> None:
            events.emit(event)
            watch.record(event)
            _tell(event, as_json=given["as_json"])

        ground = Ground(connection, settings.nats or "", emit, by, clock_of(connection), given)
        async with _PROVIDERS[given["provider"]](ground) as parts:
            plan = parts.plan
            if changes:
                set_ = await Switches(connection, plan.model).set(changes, otherwise=plan.knobs)
                plan = msgspec.structs.replace(plan, knobs=set_)
            if given["lease_s"] is not None:
                plan = msgspec.structs.replace(plan, lease_s=given["lease_s"])
            await _until_stopped(ground, parts._replace(plan=plan), watch)


async def _until_stopped(ground: Ground, parts: Parts, watch: Watch) -> None:
    click.echo(f"{ground.by} runs the pool of {parts.plan.model}; Ctrl-C ends it", err=True)
    unit = Unit.of(os.environ)
    unit.ready(f"runs the pool of {parts.plan.model}")

    def alive() -> None:
        unit.alive()
        watch.looked()

    with stopping() as stop:
        stop.hasten = parts.hasten
        async with asyncio.TaskGroup() as group:
            managing = group.create_task(
                manage(
                    ground.connection, parts.plan, hands=parts.hands, quotes=parts.quotes,
                    emit=ground.emit, by=ground.by, clock=ground.clock, alive=alive,
                )
            )  # fmt: skip
            lost = group.create_task(ground.connection.closed())
            await stop.asked()
            managing.cancel()
            lost.cancel()


@asynccontextmanager
async def _local(ground: Ground) -> AsyncIterator[Parts]:
    given = ground.given
    prepare_engine(given["engine"], given["model"], given["model_path"])
    if not ground.url:
        raise UsageError("a local pool hands its broker's address on: give --nats or FLEET_NATS")
    zones = _zones(given)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory("-overbook"))
        pool = LocalPool(
            Plan(
                nats=ground.url, model=given["model"], engine=given["engine"], logs=Path(folder),
                # Two pools at one broker have nodes of different names.
                tag=f"{secrets.token_hex(2)}-", arguments=consumer_arguments(dict(given)),
                prices_usd_per_hour=PRICES_USD_PER_HOUR,
            )
        )  # fmt: skip
        # Nothing outlives this process, and one that is mute is seen to end: no reaper.
        provider = Guard(Local(pool, zones), Limits(machines=given["most_machines"]))
        yield Parts(
            plan=PoolPlan(
                model=given["model"], provider="local", zones=zones, knobs=Knobs(tuning=QUICK),
                tick_s=TICK_S, lease_s=LEASE_S,
            ),
            hands=machines(
                ground.connection, provider, model=given["model"], by=ground.by, emit=ground.emit,
                reaper=None, clock=ground.clock,
            ),
            quotes=FlatQuotes(
                spot_usd=PRICES_USD_PER_HOUR["spot"],
                on_demand_usd=PRICES_USD_PER_HOUR["on-demand"],
            ),
            hasten=pool.kill_all,
        )  # fmt: skip
        click.echo("draining; Ctrl-C again kills", err=True)
        await pool.stop(wait_s=DRAIN_S)


@asynccontextmanager
async def _ec2(ground: Ground) -> AsyncIterator[Parts]:
    from fleet.pool.ec2 import Ec2
    from fleet.pool.ec2_api import Ec2Api
    from fleet.pool.ec2_settings import read_settings
    from fleet.pool.spot_prices import SpotMarket

    given = ground.given
    if given["config"] is None:
        raise UsageError("an EC2 pool needs --config FILE, such as deploy/ec2/pool.toml")
    config, place = read_settings(given["config"])
    api = Ec2Api(place)
    provider = Guard(Ec2(config, api), Limits(machines=given["most_machines"]))
    yield Parts(
        plan=PoolPlan(model=given["model"], provider="ec2", zones=tuple(sorted(config.subnets))),
        hands=machines(
            ground.connection, provider, model=given["model"], by=ground.by, emit=ground.emit,
            reaper=Reaper(), clock=ground.clock,
        ),
        quotes=BookQuotes(
            _book(given), config.instance_types, SpotMarket(api),
            now=ground.clock.told,
        ),
    )  # fmt: skip


@asynccontextmanager
async def _kubernetes(ground: Ground) -> AsyncIterator[Parts]:
    from fleet.pool.kubernetes import Board, serving
    from fleet.pool.pods import Pods

    given, board = ground.given, Board()
    host, _, port = given["listen"].rpartition(":")
    if not port.isdecimal():
        raise UsageError(f"--listen {plain(given['listen'])} is no address: write HOST:PORT")
    if not given["instance_types"]:
        raise UsageError("a Kubernetes pool needs --instance-type, for its nodes' prices")
    async with serving(board, host=host or "127.0.0.1", port=int(port)) as url:
        click.echo(f"KEDA reads {url}/targets/{given['model']}", err=True)
        yield Parts(
            plan=PoolPlan(model=given["model"], provider="kubernetes", zones=_zones(given)),
            hands=Pods(board, given["model"]),
            quotes=BookQuotes(_book(given), given["instance_types"], now=ground.clock.told),
        )


_PROVIDERS = {"local": _local, "ec2": _ec2, "kubernetes": _kubernetes}


def _zones(given: Mapping[str, Any]) -> tuple[str, ...]:
    zones = tuple(zone for zone in given["zones"].split(",") if zone)
    if not zones:
        raise UsageError("--zones names no zone: write them with commas between")
    return zones


def _book(given: Mapping[str, Any]) -> PriceBook:
    book = load_book(given["prices"])
    if given["prices"] is None:
        click.echo(f"prices are {book.source}: name your own with --prices", err=True)
    return book


def _tell(event: AnyEvent, *, as_json: bool) -> None:
    """Write what the manager says as it says it."""
    if as_json:
        click.echo(msgspec.json.encode(event))
        return
    match event:
        case PoolDecided():
            click.echo(
                f"decided: {event.spot} spot, {event.realtime} + {event.fallback} on-demand, "
                f"batches on on-demand: {'yes' if event.batch_fallback else 'no'}"
            )
            for reason in event.reasons:
                click.echo(f"  {plain(reason)}")
        case PoolActed():
            click.echo(
                f"{event.action}: {event.capacity_type or ''} {plain(event.zone)} "
                f"{' '.join(event.machines)}: {plain(event.why)}"
            )
        case NodeGone():
            click.echo(f"gone: {plain(event.node)} ({plain(event.cause)})")
        case _:
            pass
