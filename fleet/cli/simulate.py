"""`fleet simulate`: what the pool's policy would cost on a market, beside others and the bound."""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from fleet.cli import options
from fleet.cli.times import Length

if TYPE_CHECKING:
    from fleet.pool.simulate.compare import Run
    from fleet.pool.simulate.outcome import Outcome
    from fleet.pool.simulate.question import Answer
    from fleet.pool.simulate.recorded import Past

HEAD: Final = (
    "policy",
    "cost",
    "missed",
    "on-demand",
    "reclaims",
    "starts",
    "begins",
    "done",
    "start-up",
    "lost",
    "idle",
)
HOW: Final = "pip install 'overbook[sim]'"


@click.command()
@click.option(
    "--traces",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A recorded market: JSON files with `gap_seconds` and counts, one a zone.",
)
@click.option(
    "--prices",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Recorded spot prices, tick for tick, for --traces.",
)
@click.option(
    "--market",
    type=click.Choice(["v100", "scarce", "h100"]),
    default="v100",
    show_default=True,
    help="A market that is made up, where no --traces are given.",
)
@click.option("--events", is_flag=True, help="This fleet's own past, as its events tell it.")
@click.option(
    "--window",
    type=Length(),
    metavar="LENGTH",
    default="24h",
    show_default=True,
    help="Within which each batch has to be done.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    metavar="N",
    default=1,
    show_default=True,
    help="Same seed, same batches, same numbers.",
)
@click.option(
    "--days",
    type=click.FloatRange(0, 366, min_open=True),
    metavar="DAYS",
    help="How much of a recording is used (all), or how much is made up (15).",
)
@click.option(
    "--from-day",
    type=click.FloatRange(0),
    metavar="DAY",
    default=0.0,
    show_default=True,
    help="Where in a recording to begin.",
)
@click.option(
    "--scale",
    type=click.IntRange(1, 100_000),
    metavar="N",
    help="Multiply the counts; without it a recording is multiplied until all zones at their best "
    "have twice the most spot that is wanted, and a made-up market as the load.",
)
@click.option(
    "--price-ratio",
    type=click.FloatRange(1, 100),
    metavar="RATIO",
    default=2.5,
    show_default=True,
    help="On-demand price by spot price, where none is recorded.",
)
@click.option(
    "--on-demand-usd",
    type=click.FloatRange(0, min_open=True),
    metavar="USD",
    help="Price of an on-demand node-hour, to go with --prices.",
)
@click.option(
    "--load",
    type=click.FloatRange(0, 100_000, min_open=True),
    metavar="NODES",
    default=6.0,
    show_default=True,
    help="How many nodes the batches keep busy on average.",
)
@click.option(
    "--every",
    type=Length(),
    metavar="LENGTH",
    default="2h",
    show_default=True,
    help="How far apart batches come, on average.",
)
@click.option(
    "--startup",
    type=Length(),
    metavar="LENGTH",
    default="10m",
    show_default=True,
    help="From a node's launch to its first job.",
)
@click.option(
    "--lost",
    type=Length(),
    metavar="LENGTH",
    default="60s",
    show_default=True,
    help="Work that a node loses with a reclaim.",
)
@click.option(
    "--job",
    type=Length(),
    metavar="LENGTH",
    default="30s",
    show_default=True,
    help="How long one job keeps one node busy.",
)
@click.option(
    "--most-spot", type=click.IntRange(0), metavar="N", help="At a time; three times the load."
)
@click.option(
    "--most-on-demand", type=click.IntRange(0), metavar="N", help="At a time; seven times the load."
)
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw it: .png, .svg or .pdf.",
)
@options.nats
@options.as_json
def command(
    picture: Path | None, nats: str | None, *, events: bool, as_json: bool, **given: Any
) -> int:
    """Run the pool's policy on a market of spot nodes, recorded or made up, beside others.

    The same code as in production decides. Cost is by what the same work costs on on-demand nodes
    that start at once and never idle; the bound is the cheapest plan of all with hindsight. Nothing
    is launched, and only --events needs a broker. Exit codes: 0 done, 2 wrong usage, 4 no spot node
    in the events, 5 broker unreachable.
    """
    _needs("matplotlib", picture is not None, "--picture")
    past = options.run(_recall(nats, given)) if events else None
    from fleet.pool.simulate.question import Question, ask, can_bound

    load = given["load"]
    given["most_spot"] = _or(given["most_spot"], round(3 * load))
    given["most_on_demand"] = _or(given["most_on_demand"], round(7 * load))
    if not can_bound():
        click.echo(f"no bound without SciPy: {HOW}", err=True)
    answer, runs = ask(msgspec.convert(given, Question), past=past, on_run=_tell)
    if picture:
        from fleet.pool.simulate.picture import draw

        draw(runs, answer.bound.cost_ratio, title=_title(answer), path=picture)
        click.echo(f"drawn: {picture}", err=True)
    if as_json:
        click.echo(msgspec.json.encode(answer, enc_hook=str))
    else:
        click.echo("\n".join(_text(answer, runs)))
    return 0


async def _recall(nats: str | None, given: dict[str, Any]) -> "Past":
    from fleet.broker.eventlog import EventLog
    from fleet.cli.reached import reached
    from fleet.lives import believed
    from fleet.pool.simulate.recorded import recall

    async with reached(nats, name="fleet-simulate") as connection:
        told = [believed(one.event, one.written_at) async for one in EventLog(connection).read()]
    return recall(told, window_s=given["window"], price_ratio=given["price_ratio"])


def _tell(name: str) -> None:
    click.echo(f"simulating {name}", err=True)


def _title(answer: "Answer") -> str:
    about, asked = answer.market, answer.question
    return (
        f"{about.name}: {about.zones} zones, {about.days:.1f} days, "
        f"window {asked.window / 3600:g} h, seed {asked.seed}"
    )


def _text(answer: "Answer", runs: Mapping[str, "Run"]) -> Iterator[str]:
    """Write a table, a sketch, and what to know about the market."""
    from fleet.cli.table import aligned
    from fleet.pool.simulate.sketch import sketch

    yield _title(answer)
    yield aligned([HEAD, *(_row(name, one) for name, one in answer.policies.items())])
    yield ""
    yield sketch(runs, answer.bound.cost_ratio)
    for note in answer.market.notes:
        yield f"note: {note}"


def _row(name: str, made: "Outcome") -> tuple[str, ...]:
    return (
        name,
        "-" if made.cost_ratio is None else f"{made.cost_ratio:.3f}",
        f"{made.misses}/{made.batches}",
        f"{made.on_demand_share:.1%}",
        str(made.reclaims),
        str(made.starts),
        f"{made.begin.p50_h:.1f} h",
        f"{made.done.p50_h:.1f} h",
        f"{made.split.startup:.1%}",
        f"{made.split.lost:.1%}",
        f"{made.split.idle:.1%}",
    )


def _needs(module: str, is_asked: bool, option: str) -> None:
    if is_asked and find_spec(module) is None:
        raise click.UsageError(f"{option} needs {module}: {HOW}")


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
