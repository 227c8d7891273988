"""`fleet drain` and `fleet resume`: let go of a node, and call it back."""

from typing import TYPE_CHECKING

import click
import msgspec

from fleet.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleet.control import Heard, Order


@click.command("drain")
@click.argument("node")
@click.option(
    "--left",
    "left_s",
    type=click.FloatRange(0, 3600),
    metavar="SECONDS",
    help="When the node is to be gone; default: its own grace period.",
)
@options.nats
@options.as_json
def drain(*, node: str, left_s: float | None, nats: str | None, as_json: bool) -> None:
    """Tell NODE to take no more jobs, to finish what fits, and to hand over the rest.

    Once it holds nothing its process ends with exit code 0. Until then `fleet resume` calls it
    back. Exit code 4 for a node that nobody hears of, 5 for one that does not answer.

    With --json: an object with `node`, `pid`, `state`, `changed` (false: it drains already),
    `jobs` and `items` in hand, and `left_s`.
    """
    from fleet.control import DrainOrder

    heard = options.run(_ask(nats, node, DrainOrder(left_s=left_s), "drain", _drained))
    click.echo(msgspec.json.encode(heard) if as_json else _drained(heard))


@click.command("resume")
@click.argument("node")
@options.nats
@options.as_json
def resume(*, node: str, nats: str | None, as_json: bool) -> None:
    """Call NODE back that was told to drain: it takes jobs again.

    A node whose process got a signal cannot be called back, for whoever sent it goes on to kill.
    Exit code 4 for a node that nobody hears of, 5 for one that does not answer.

    With --json: an object as that of `fleet drain`.
    """
    from fleet.control import ResumeOrder

    heard = options.run(_ask(nats, node, ResumeOrder(), "call back", _resumed))
    click.echo(msgspec.json.encode(heard) if as_json else _resumed(heard))


async def _ask(
    url: str | None, node: str, order: "Order", deed: str, words: "Callable[[Heard], str]"
) -> "Heard":
    from dashboard.acting import OnNode
    from fleet.broker.control import ask
    from fleet.cli.audit import commanded
    from fleet.cli.reached import reached

    async with (
        reached(url, name="fleet-control") as connection,
        commanded(connection, deed, OnNode(node=node)) as act,
    ):
        heard = await ask(connection, node, order)
        act.result = words(heard)
        return heard


def _drained(heard: "Heard") -> str:
    held = f"{heard.items} items of {heard.jobs} jobs in hand"
    left = "" if heard.left_s is None else f", to be gone in {heard.left_s:.0f} s"
    if not heard.changed:
        return f"{heard.node} drains already: {held}{left}"
    return f"{heard.node} drains: {held}{left}"


def _resumed(heard: "Heard") -> str:
    if heard.state in {"draining", "drained"}:
        return f"{heard.node} goes all the same: its process got a signal"
    if not heard.changed:
        return f"{heard.node} was not told to go, nothing changed"
    return f"{heard.node} takes jobs again"
