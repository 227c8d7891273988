"""`fleet pool`: the pool manager, what it decided, and what operators tell it."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

from fleet.cli import options
from fleet.cli.pool_view import Shown, explanation, status_lines
from fleet.cli.up import fleet_options
from fleet.cli.who import who
from fleet.errors import NotFound, UsageError
from fleet.subjects import plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fleet.pool.knobs import Knobs
    from fleet.pool.switches import Switches

T = TypeVar("T")
# Whose options these are. Another provider would ignore them, and nobody would know.
_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "config": ("ec2",),
    "zones": ("local", "kubernetes"),
    "prices": ("ec2", "kubernetes"),
    "instance_types": ("kubernetes",),
    "listen": ("kubernetes",),
    "most_machines": ("local", "ec2"),
    "engine": ("local",),
    "model_path": ("local",),
    "slots": ("local",),
    "token_rate": ("local",),
    "engine_arg": ("local",),
}


@click.group()
def command() -> None:
    """Run a pool: as much spot as the work needs, on-demand only where a deadline asks for it."""


@command.command(short_help="Run the manager of one model's pool until Ctrl-C.")
@options.model
@click.option(
    "--provider",
    type=click.Choice(["local", "ec2", "kubernetes"]),
    default="local",
    show_default=True,
    help="Who owns the machines: processes here, EC2, or KEDA and Karpenter.",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="EC2: a TOML file with pool, template, subnets, instance_types, region.",
)
@click.option(
    "--zones",
    default="a,b,c",
    show_default=True,
    metavar="A,B,C",
    help="Zones of a local or Kubernetes pool.",
)
@click.option(
    "--prices",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="EC2, Kubernetes: price book; default: the package's example.",
)
@click.option(
    "--instance-type",
    "instance_types",
    multiple=True,
    metavar="TYPE",
    help="Kubernetes: what the nodes are, for their prices; may be repeated.",
)
@click.option(
    "--listen",
    default="127.0.0.1:8089",
    show_default=True,
    metavar="HOST:PORT",
    help="Kubernetes: where KEDA reads the targets.",
)
@click.option(
    "--most-machines",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    metavar="N",
    help="Local, EC2: a belt, never more machines than this, whatever is decided.",
)
@click.option(
    "--lease",
    "lease_s",
    type=click.FloatRange(1, 300),
    metavar="SECONDS",
    help="For how long nobody acts when the manager that leads dies; default: 15, local 6.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a knob; see `fleet pool set`.",
)
@fleet_options
@options.nats
@options.as_json
def run(**given: Any) -> None:
    """Run the manager of one model's pool until Ctrl-C; of several of them one acts.

    Machines of EC2's and pods go on when it ends; processes of a local pool drain. With --json each
    decision and each thing done is a line on stdout, as it is stored in EVENTS.
    """
    from fleet.cli.pool_run import run_pool

    _check(click.get_current_context(), given["provider"])
    options.run(run_pool(given, _changes(given["changes"])))


@command.command(short_help="Show what the pool has, wants and spends.")
@options.model
@options.nats
@options.as_json
def status(model: str, nats: str | None, *, as_json: bool) -> None:
    """Show what the pool has, wants and spends, and which batches are at risk.

    Exit code 4 where no manager has run. With --json an object with `leader`, `silent_s`, `paused`
    and `standing`: what the manager saw and decided last.
    """
    shown = options.run(_shown(nats, model))
    click.echo(msgspec.json.encode(shown) if as_json else "\n".join(status_lines(shown)))


@command.command()
@options.model
@options.nats
@options.as_json
def explain(model: str, nats: str | None, *, as_json: bool) -> None:
    """Say why the last decision is as it is, in words and numbers.

    Exit code 4 where no manager has run. With --json the decision as an object.
    """
    shown = options.run(_shown(nats, model))
    decision = shown.standing.decision
    click.echo(msgspec.json.encode(decision) if as_json else "\n".join(explanation(shown)))


@command.command(short_help="Stop the manager: it looks on and does nothing.")
@click.option("--why", default="", metavar="TEXT", help="For whoever wonders.")
@options.model
@options.nats
def pause(model: str, why: str, nats: str | None) -> None:
    """Stop the manager: it looks on, says what it would do, and does nothing.

    Nodes stay as they are; those that the market takes are not replaced.
    """
    from fleet.pool.switches import Paused

    paused = Paused(by=who(), why=plain(why), at=time.time())
    options.run(
        _act(nats, model, "pause", f"pool {model}", lambda switches: switches.pause(paused))
    )
    click.echo(f"the pool of {model} is paused: `fleet pool resume --model {model}` lets it go on")


@command.command()
@options.model
@options.nats
def resume(model: str, nats: str | None) -> None:
    """Let the manager act again."""
    options.run(_act(nats, model, "resume", f"pool {model}", lambda switches: switches.resume()))
    click.echo(f"the pool of {model} is managed again")


@command.command("set", short_help="Set knobs: how many nodes, at what price.")
@click.argument("changes", nargs=-1, required=True, metavar="NAME=VALUE...")
@options.model
@options.nats
@options.as_json
def set_(changes: Sequence[str], model: str, nats: str | None, *, as_json: bool) -> None:
    """Set knobs: most_spot, most_on_demand, baseline, budget_usd_per_h, price_ceiling.

    `none` takes a limit away. Constants behind them are `tuning.<name>`. They count with the
    manager's next look, and until they are set anew. With --json all knobs as an object.
    """
    wanted = _changes(changes)

    async def set_them(switches: "Switches") -> "Knobs":
        standing = await switches.standing()
        # Where nobody set any, those that the manager runs with are changed.
        return await switches.set(wanted, otherwise=standing.knobs if standing else None)

    what = f"{', '.join(changes)} of the pool {model}"
    knobs = options.run(_act(nats, model, "set", what, set_them))
    if as_json:
        click.echo(msgspec.json.encode(knobs))
    else:
        for name, value in msgspec.to_builtins(knobs).items():
            if name != "tuning":
                click.echo(f"{name} = {'none' if value is None else value}")


async def _shown(url: str | None, model: str) -> Shown:
    from fleet.cli.reached import reached
    from fleet.pool.leader import Leader
    from fleet.pool.service import clock_of
    from fleet.pool.switches import Switches

    async with reached(url, name="fleet-pool") as connection:
        switches = Switches(connection, model)
        standing = await switches.standing()
        if standing is None:
            raise NotFound(
                f"no manager has run the pool of {model} of late: `fleet pool run` starts one"
            )
        # By the clock that the manager goes by.
        now = await clock_of(connection).now()
        holder = await Leader(connection, model, by="").holder()
        return Shown(
            leader=holder.by if holder else None,
            silent_s=max(0.0, now - standing.at),
            paused=await switches.paused(),
            standing=standing,
        )


async def _act(
    url: str | None, model: str, deed: str, what: str, do: "Callable[[Switches], Awaitable[T]]"
) -> T:
    """Throw a switch of a pool, and tell EVENTS."""
    from fleet.cli.audit import commanded
    from fleet.cli.reached import reached
    from fleet.pool.switches import Switches

    async with reached(url, name="fleet-pool") as connection:
        switches = Switches(connection, model)
        async with commanded(connection, deed, what):
            return await do(switches)


def _check(context: click.Context, provider: str) -> None:
    """Refuse what was given and is for another provider."""
    for option in context.command.params:
        of = _OF.get(option.name or "", (provider,))
        source = context.get_parameter_source(option.name or "")
        if provider not in of and source is click.core.ParameterSource.COMMANDLINE:
            raise UsageError(
                f"{option.opts[0]} says nothing to a pool of provider {provider}: leave it out, or "
                f"give --provider {' or '.join(of)}"
            )


def _changes(texts: Sequence[str]) -> dict[str, str]:
    changes: dict[str, str] = {}
    for text in texts:
        name, is_there, value = text.partition("=")
        if not is_there:
            raise UsageError(f"{plain(text)} sets nothing: write NAME=VALUE")
        changes[name.strip()] = value.strip()
    return changes
