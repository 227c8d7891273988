"""`fleet drill`: an interruption on purpose, and what came of it."""

import asyncio
import os
import secrets
import shlex
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from fleet.cli import options
from fleet.cli.confirm import confirm
from fleet.cli.who import who
from fleet.errors import UsageError
from fleet.settings import Settings

if TYPE_CHECKING:
    from dashboard.acting import Target
    from fleet.drill import Kind, Report
    from fleet.node import Node

HOUR_S: Final = 3600.0
DAY_S: Final = 24 * HOUR_S
PASSED, FAILED = 0, 1


@click.group()
def command() -> None:
    """Interrupt a node on purpose, and see what comes of it.

    A drill publishes jobs of its own (tenant `drill`), interrupts a node that works on one, waits
    until all of them have ended, and says whether the fleet kept its promises: exit code 0 for yes,
    1 for no. Other jobs that the node holds are interrupted, too, and go on as they would in
    earnest.

    Guard rails: the fleet has to be marked (`fleet drill allow`, or `fleet up --allow-drills`),
    one drill runs at a time, another node must be ready to go on, and on-demand nodes are left
    alone unless you say --on-demand.
    """


@command.command("allow")
@click.option("--for", "for_s", type=click.FloatRange(1, 30 * DAY_S), default=HOUR_S,
              show_default=True, metavar="SECONDS", help="How long it is allowed.")  # fmt: skip
@options.nats
def allow(*, for_s: float, nats: str | None) -> None:
    """Mark the fleet as one that may be drilled."""
    options.run(_mark(nats, for_s))
    click.echo(f"drills are allowed for {for_s:.0f} s; `fleet drill forbid` ends that")


@command.command("forbid")
@options.nats
def forbid(nats: str | None) -> None:
    """Take that mark away."""
    options.run(_mark(nats, None))
    click.echo("drills are not allowed")


def probing(inner: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of every drill."""
    for option in reversed((
        click.option("--tenant", metavar="NAME", default="drill", show_default=True,
                     help="Whose the drill's own jobs are."),
        click.option("--items", type=click.IntRange(1, 256), default=4, show_default=True,
                     metavar="N", help="Requests in each of its jobs."),
        click.option("--tokens", type=click.IntRange(1, 100_000), default=400, show_default=True,
                     metavar="N", help="Tokens of each request: enough for some seconds of work."),
        click.option("--wait", "wait_s", type=click.FloatRange(5, HOUR_S), default=300.0,
                     show_default=True, metavar="SECONDS",
                     help="How long its jobs may wait to begin, and then to end."),
        click.option("--yes", "-y", is_flag=True, help="Do not ask."),
        options.nats,
        options.as_json,
    )):  # fmt: skip
        inner = option(inner)
    return inner


on_demand = click.option("--on-demand", is_flag=True, help="On-demand nodes may be hit, too.")


def _of_a_node(kind: "Kind", summary: str, *more: Callable[..., Any]) -> None:
    """Make the command of a drill that hits one node."""

    @command.command(kind, help=summary, short_help=summary)
    @click.argument("node", required=False)
    @on_demand
    @probing
    def drill(**given: Any) -> int:
        return _run(kind, given)

    for option in more:
        option(drill)


_left = click.option(
    "--left",
    "left_s",
    type=click.FloatRange(1, HOUR_S),
    metavar="SECONDS",
    help="Time between notice and end; default: what the cloud gives.",
)
_busiest = "NODE (default: the busiest one)"
_of_a_node("aws", f"Give the two minutes' notice of AWS to {_busiest}.", _left)
_of_a_node("gcp", f"Give the 30 seconds' notice of Google to {_busiest}.", _left)
_of_a_node("azure", f"Give the 30 seconds' notice of Azure to {_busiest}.", _left)
_of_a_node("kill", f"Kill {_busiest} without a word (kill -9).")
_of_a_node("freeze", f"Freeze {_busiest} for longer than its lease.")


@command.command("zone")
@click.argument("zone")
@on_demand
@probing
def zone(**given: Any) -> int:
    """Let all consumers of ZONE vanish at once (kill -9)."""
    return _run("zone", given)


@command.command("server")
@click.option("--with", "restart_with", metavar="COMMAND",
              help="How the broker is restarted; not needed for that of `fleet up`.")  # fmt: skip
@probing
def server(**given: Any) -> int:
    """Kill and restart the broker."""
    return _run("server", given)


def _run(kind: "Kind", given: dict[str, Any]) -> int:
    report = options.run(_drill(kind, given))
    if given["as_json"]:
        click.echo(msgspec.json.encode(report))
    else:
        click.echo("\n".join(report_lines(report)))
    return PASSED if report.passed else FAILED


async def _drill(kind: "Kind", given: dict[str, Any]) -> "Report":
    from fleet.cli.audit import Act, commanded, only_error
    from fleet.cli.progress import Show
    from fleet.cli.reached import reached
    from fleet.drilling import Drill, DrillPlan

    restart_with = given.get("restart_with")
    plan = DrillPlan(
        kind=kind,
        node=given.get("node"),
        zone=given.get("zone"),
        on_demand=given.get("on_demand", False),
        left_s=given.get("left_s"),
        tenant=given["tenant"],
        items=given["items"],
        tokens=given["tokens"],
        wait_s=given["wait_s"],
        checkpoint_s=Settings.from_env(os.environ).checkpoint_s,
        restart=_restarting(restart_with) if restart_with else None,
        by=who(),
    )

    show = Show()
    act: Act | None = None
    async with (
        reached(given["nats"], name="fleet-drill") as connection,
        AsyncExitStack() as stack,
    ):

        async def sure(hit: Sequence["Node"]) -> None:
            nonlocal act
            confirm(_question(kind, hit), yes=given["yes"])
            act = await stack.enter_async_context(
                commanded(connection, f"drill {kind}", _hit(kind, hit))
            )
            stack.enter_context(show)  # not before: its bars would paint over the question

        try:
            report = await Drill(connection, plan, say=show.say, bar=show.bar, sure=sure).run()
        except ExceptionGroup as group:
            raise only_error(group) from group
        if act is not None:
            act.result = "; ".join(map(str.strip, report_lines(report)))
        return report


async def _mark(url: str | None, for_s: float | None) -> None:
    from fleet.broker import permit
    from fleet.cli.audit import commanded
    from fleet.cli.reached import reached

    async with (
        reached(url, name="fleet-drill") as connection,
        commanded(connection, "forbid" if for_s is None else "allow", "drills") as act,
    ):
        if for_s is None:
            await permit.forbid(connection)
        else:
            mark = permit.Mark(by=who(), token=secrets.token_hex(8))
            await permit.allow(connection, mark, for_s=for_s)
            act.result = f"for {for_s:.0f} s"


def _restarting(text: str) -> Callable[[], Awaitable[None]]:
    """Make what runs the operator's own command. Raises UsageError for what is none."""
    try:
        program = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--with {text!r} is no command: {error}") from error
    if not program:
        raise UsageError("--with names no command")

    async def restart() -> None:
        try:
            process = await asyncio.create_subprocess_exec(
                *program, stdin=asyncio.subprocess.DEVNULL
            )
        except OSError as error:
            raise UsageError(f"--with {text!r} cannot be run: {error}") from error
        if code := await process.wait():
            raise UsageError(f"--with {text!r} ended with exit code {code}: nothing was judged")

    return restart


def _hit(kind: "Kind", hit: Sequence["Node"]) -> "Target | str":
    """Name whom a drill hits, for its audit."""
    from dashboard.acting import OnNode

    if kind == "server":
        return "the broker"
    if len(hit) == 1:
        return OnNode(node=hit[0].node)
    return f"zone {hit[0].zone}: {', '.join(node.node for node in hit)}"


def _question(kind: "Kind", hit: Sequence["Node"]) -> str:
    if kind == "server":
        return "The broker goes down and comes back, for everybody. Go on?"
    held = sum(node.items for node in hit)
    names = ", ".join(f"{node.node} ({node.zone or 'no zone'})" for node in hit)
    return f"{kind} hits {names}, with {held} items of other jobs in hand now. Go on?"


def report_lines(report: "Report") -> Iterator[str]:
    """Write a report for people."""
    nodes = ", ".join(report.nodes) or "the broker"
    yield f"{report.kind} of {nodes}: {'PASS' if report.passed else 'FAIL'}"
    yield f"  {report.items} requests in {report.jobs} jobs of its own"
    for check in report.checks:
        value = "-" if check.value is None else f"{check.value:.4g}"
        verdict = "ok" if check.passed else "TOO MUCH" if check.value is not None else "NEVER"
        yield f"  {check.name}: {value} (at most {check.most:.4g}) {verdict}"
    if report.went_on_s is None:
        yield "  nobody took anything over: all was finished in time"
    cost = "unknown: the node names no price" if report.cost_usd is None else (
        f"{report.cost_usd:.6f} USD"
    )  # fmt: skip
    yield f"  cost of the interruption: {cost}"
