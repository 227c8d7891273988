"""The command: `python -m tests.bench [NAME ...]` prints one JSON object a benchmark."""

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import click
import msgspec

from tests.bench.report import Clock, Figure, Options, say

BENCHMARKS = (
    "null_jobs",
    "backlog",
    "first_token",
    "takeover",
    "realtime_pause",
    "checkpoint_cost",
    "batch_throughput",
    "footprint",
    "manager_tick",
    "simulate_table",
    "simulate_speed",
    "screen",
    "dashboard_load",
    "scrape",
    "tenant_cost",
)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(BENCHMARKS))
@click.option("--items", type=click.IntRange(1), help="Items of a batch, or requests of a kind.")
@click.option("--tokens", type=click.IntRange(1), help="Tokens of an answer.")
@click.option("--jobs", type=click.IntRange(1), help="Jobs of a run, or of the large backlog.")
@click.option("--nodes", type=click.IntRange(2), help="Nodes of the fleet.")
@click.option("--rounds", type=click.IntRange(1), help="How often each side has its turn.")
@click.option("--engine", type=click.Choice(["scripted", "vllm"]), default="scripted")
@click.option("--quick", is_flag=True, help="Small sizes: to see that it runs, not to quote.")
def main(names: Sequence[str], **given: Any) -> None:
    """Measure, side by side and in turns, what the named benchmarks are about; all by default.

    JSON goes to stdout, an object a line; progress to stderr. A target that is missed is printed,
    and is no failure.
    """
    options = msgspec.convert(given, Options)
    for name in names or BENCHMARKS:
        module = importlib.import_module(f"tests.bench.{name}")
        about = (module.__doc__ or "").strip()
        say(f"{name}: {about.splitlines()[0]}")
        clock = Clock()
        figures = _run(module.measure, options)
        envelope = clock.envelope(name, " ".join(about.split()), options, figures)
        click.echo(msgspec.json.encode(envelope))
        for figure in figures:
            say(_line(figure))


def _run(
    measure: Callable[[Options], Awaitable[Sequence[Figure]]], options: Options
) -> Sequence[Figure]:
    async def run() -> Sequence[Figure]:
        return await measure(options)

    from uvloop import new_event_loop  # noqa: PLC0415 - absent on Windows

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(run())


def _line(figure: Figure) -> str:
    target = f"  target {figure.target}: {'met' if figure.met else 'MISSED'}"
    return f"  {figure.name} = {figure.value:g} {figure.unit}" + (target if figure.target else "")


if __name__ == "__main__":
    main()
