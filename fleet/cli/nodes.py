"""`fleet nodes`: who is alive, and what each of them does."""

import time
from typing import TYPE_CHECKING

import click
import msgspec

from fleet.cli import options
from fleet.cli.table import aligned
from fleet.node import Node
from fleet.subjects import plain

if TYPE_CHECKING:
    from dashboard.model import NodeRow


@click.command()
@options.nats
@options.as_json
def command(nats: str | None, *, as_json: bool) -> None:
    """List the nodes whose heart beats, with what they run and cost.

    With --json: an object with `nodes` (a list) and `totals`. A dash is what is not known.
    """
    from dashboard.model import node_rows, totals

    rows = node_rows(options.run(_nodes(nats)), now=time.time())
    total = totals(rows)
    if as_json:
        click.echo(msgspec.json.encode({"nodes": rows, "totals": total}))
        return
    table = [
        (
            "NODE",
            "STATE",
            "NOTICE",
            "TYPE",
            "ZONE",
            "MODEL",
            "ENGINE",
            "ITEMS",
            "TOK/S",
            "UP",
            "BEAT",
            "USD/H",
        )
    ]
    table += [
        (
            plain(row.node), row.state, _notice(row), row.capacity_type, plain(row.zone) or "-",
            plain(row.model), plain(row.engine), f"{row.items}/{row.slots}",
            _number(row.tokens_per_s, 1), f"{row.up_s:.0f}s", f"{row.beat_age_s:.1f}s",
            _number(row.price_usd_per_hour, 2),
        )
        for row in rows
    ]  # fmt: skip
    click.echo(aligned(table))
    click.echo(
        f"{total.ready} of {total.nodes} ready, {total.items} items in hand, "
        f"{total.tokens_per_s:.1f} tokens/s over their lives, "
        f"{_number(total.usd_per_hour, 2)} USD/h",
        err=True,
    )


async def _nodes(url: str | None) -> list[Node]:
    from fleet.broker.nodes import Nodes
    from fleet.cli.reached import reached

    async with reached(url, name="fleet-nodes") as connection:
        return await Nodes(connection).list()


def _notice(row: "NodeRow") -> str:
    if row.leaves_in_s is None:
        return plain(row.notice) or "-"
    return f"{plain(row.notice)} {row.leaves_in_s:.0f}s"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
