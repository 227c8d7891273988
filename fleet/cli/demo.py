"""`fleet demo`: the whole idea at work, in a few minutes, on this machine."""

import asyncio
import sys

import click
import msgspec

from fleet.cli import options
from fleet.cli.stopping import stopping
from fleet.cli.up import prepare_engine
from fleet.exits import INTERRUPTED

MODEL = "smollm2"
# Room for the whole batch in one engine, so that what a lost node held finds a place at once. The
# KV cache holds most of it: three engines share 8 GiB.
SLOTS = "32"
ARGUMENTS = {
    "vllm": ("--slots", SLOTS, "--kv-cache", str(192 * 1024 * 1024), "--max-model-len", "512"),
    "scripted": ("--slots", SLOTS, "--token-rate", "8"),
}


@click.command()
@click.option(
    "--engine",
    type=click.Choice(["vllm", "scripted"]),
    default="vllm",
    show_default=True,
    help="Real inference, or deterministic tokens without a model.",
)
@options.as_json
def command(engine: str, *, as_json: bool) -> int:
    """Show a batch that survives a kill -9 and an interruption notice, and audit it.

    Starts one on-demand and two spot consumers, gives them a batch of real prompts with real-time
    and background requests beside it, kills one spot consumer and gives notice to the other. The
    exit code is the audit's: 0 if every answer is there once and right.
    """
    from fleet.cli.progress import Show
    from fleet.demo.audit import PRICES_USD_PER_HOUR, Audit, report
    from fleet.demo.stage import perform
    from fleet.pool.fleet_plan import FleetPlan

    if engine == "vllm" and sys.platform != "linux":
        click.echo("vLLM has no build for this system: running with the scripted engine", err=True)
        engine = "scripted"
    prepare_engine(engine, MODEL)
    plan = FleetPlan(
        model=MODEL,
        engine=engine,
        zones=("a", "b", "c"),
        replace="all",
        arguments=ARGUMENTS[engine],
        prices_usd_per_hour=PRICES_USD_PER_HOUR,
    )

    async def until_stopped() -> Audit | None:
        with stopping(), Show() as show:
            show.say(f"starting a broker, 1 on-demand and 2 spot consumers ({engine}, {MODEL})")
            try:
                return await perform(plan, say=show.say, bar=show.bar)
            except asyncio.CancelledError:
                show.say("stopped before the end: no audit")
                return None  # everything is taken down by now

    audit = options.run(until_stopped())
    if audit is None:
        return INTERRUPTED
    if as_json:
        click.echo(msgspec.json.encode({**msgspec.to_builtins(audit), "ok": audit.ok}))
    else:
        click.echo(report(audit))
    return 0 if audit.ok else 1
