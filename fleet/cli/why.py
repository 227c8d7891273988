"""`fleet why`: why a job or a batch waits, and for how long."""

import os
import time
from typing import TYPE_CHECKING

import click
import msgspec

from fleet.cli import options
from fleet.cli.times import length
from fleet.subjects import plain

if TYPE_CHECKING:
    from fleet.broker.connection import Connection
    from fleet.manifest import Manifest
    from fleet.pool.decision import Outlook
    from fleet.pool.waiting import Waiting


class BatchWhy(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a batch. manager: who said so; None where no manager answers.

    outlook: None for a batch without open items, and without a manager. queued: jobs of its tenant
    and model in the queue. ready: nodes that are ready, by capacity type. paused_s: how long an
    operator's pause of the queue still lasts.
    """

    batch: str
    model: str
    state: str
    manager: str | None
    outlook: "Outlook | None"
    queued: int
    ready: dict[str, int]
    paused_s: float
    note: str = ""


@click.command()
@click.argument("name", metavar="JOB|BATCH")
@options.tenant
@options.nats
@options.as_json
def command(name: str, tenant: str, nats: str | None, *, as_json: bool) -> None:
    """Say why JOB or BATCH is not done: what it waits for, until when, and what would help.

    Of a batch: spot that no zone has, prices over the ceiling, a pause, quotas, crashing or
    starting nodes, or that its deadline does not press yet; when it will be done as things stand,
    and the last moment at which on-demand nodes alone still meet its deadline. That is what its
    pool's manager saw at its last look. Of a job: its place in the queue, who holds it, when it is
    tried again and when it expires.

    Exit code 4 for a name that there is not. With --json an object with `batch` or `job`.
    """
    found = options.run(_ask(nats, tenant, name))
    if as_json:
        click.echo(msgspec.json.encode(found))
    elif isinstance(found, BatchWhy):
        _show_batch(found, now=time.time())
    else:
        _show_job(found)


async def _ask(url: str | None, tenant: str, name: str) -> "BatchWhy | Waiting":
    from fleet.batches import Batches
    from fleet.cli.reached import reached
    from fleet.errors import NotFound, UsageError
    from fleet.pool.waiting import waiting
    from fleet.settings import Settings

    settings = Settings.from_env(os.environ)
    async with reached(url, name="fleet-why") as connection:
        try:
            manifest = await Batches(connection, tenant=tenant).manifest(name)
        except (NotFound, UsageError):  # a job's name may be longer than a batch's
            return await waiting(
                connection, tenant, name, realtime_deadline_s=settings.realtime_deadline_s
            )
        return await _batch(connection, manifest)


async def _batch(connection: "Connection", manifest: "Manifest") -> BatchWhy:
    from collections import Counter

    from fleet.broker.backlog import backlog
    from fleet.broker.durables import durable_states
    from fleet.broker.nodes import Nodes
    from fleet.broker.queued import state_of
    from fleet.errors import BrokerUnreachable, NotFound
    from fleet.pool import desk
    from fleet.subjects import batch_key

    model, tier = manifest.model, manifest.tier
    outlook, manager, note = None, None, ""
    try:
        stands = await desk.ask(connection, model, batch_key(manifest.tenant, manifest.id))
    except (NotFound, BrokerUnreachable) as error:
        note = str(error)
    else:
        outlook, manager = stands.outlook, stands.by
        if outlook is None:
            note = f"it has no open items in the queue: `fleet batch status {manifest.id}`"
    [durable] = await durable_states(connection, tier, [model], await state_of(connection, tier))
    nodes = await Nodes(connection).list()
    ready = Counter[str](n.capacity_type for n in nodes if n.model == model and n.state == "ready")
    return BatchWhy(
        batch=manifest.id,
        model=model,
        state=manifest.state,
        manager=manager,
        outlook=outlook,
        queued=(await backlog(connection, tier, model)).get(manifest.tenant, 0),
        ready=dict(ready),
        paused_s=durable.paused_s,
        note=note,
    )


def _show_batch(found: BatchWhy, *, now: float) -> None:
    ready = ", ".join(f"{count} {kind}" for kind, count in sorted(found.ready.items())) or "no"
    click.echo(
        f"batch {plain(found.batch)}: {found.state}, {found.queued} jobs of its tenant queued for "
        f"{plain(found.model)}, {ready} nodes ready"
    )
    if found.paused_s > 0:
        click.echo(f"  tier_paused: its queue is paused for {length(found.paused_s)} more")
    if found.outlook is not None:
        for reason in found.outlook.reasons:
            click.echo(f"  {reason.code}: {plain(reason.text)}")
        click.echo(f"  done: {_moment(found.outlook.eta, now, 'not as things stand')}")
        if found.outlook.deadline is not None:
            click.echo(f"  deadline: {_moment(found.outlook.deadline, now, '-')}")
            latest = _moment(found.outlook.latest_switch, now, "no on-demand node may be had")
            click.echo(f"  latest switch to on-demand: {latest}")
    if found.note:
        click.echo(f"  {plain(found.note)}")


def _show_job(found: "Waiting") -> None:
    click.echo(f"job {plain(found.job)} ({found.tier}, {plain(found.model)}): {found.state}")
    for text in found.texts:
        click.echo(f"  {plain(text)}")
    if found.batch is not None:
        click.echo(f"  it belongs to a batch: `fleet why {plain(found.batch)}` tells more")


def _moment(at: float | None, now: float, otherwise: str) -> str:
    if at is None:
        return otherwise
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    return f"{when} (in {length(at - now)})" if at >= now else f"{when} ({length(now - at)} ago)"
