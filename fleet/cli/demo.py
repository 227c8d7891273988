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
# Node-seconds of one answer, to plan with until one is measured.
ITEM_S = 3.0


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
    """Show a batch that survives a kill -9 and the loss of a zone, and audit it.

    Starts a broker, an on-demand consumer and a pool manager, and submits a batch of real prompts
    with a deadline, with real-time and background requests beside it. The manager starts two spot
    consumers for it; one is killed, and the zone of the other is taken away for a while. The exit
    code is the audit's: 0 if every answer is there once, in time and right, and the ledger sums up.
    """
    from fleet.cli.progress import Show
    from fleet.demo.audit import PRICES_USD_PER_HOUR, Audit, report
    from fleet.demo.stage import perform
    from fleet.pool.fleet_plan import FleetPlan
    from fleet.pool.knobs import Knobs
    from fleet.pool.managed import QUICK

    if engine == "vllm" and sys.platform != "linux":
        click.echo("vLLM has no build for this system: running with the scripted engine", err=True)
        engine = "scripted"
    prepare_engine(engine, MODEL)
    plan = FleetPlan(
        model=MODEL,
        engine=engine,
        zones=("a", "b", "c"),
        managed=Knobs(
            baseline=1,
            most_spot=2,
            # Its engines are slow: none is left over to stand in for spot.
            most_on_demand=0,
            # While a node leaves there is no money for the next one, and no memory either.
            budget_usd_per_h=PRICES_USD_PER_HOUR["on-demand"] + 2 * PRICES_USD_PER_HOUR["spot"],
            # Engines here load for as long as the whole batch takes.
            tuning=msgspec.structs.replace(QUICK, item_s=ITEM_S, worth=0.1),
        ),
        arguments=ARGUMENTS[engine],
        prices_usd_per_hour=PRICES_USD_PER_HOUR,
    )

    async def until_stopped() -> Audit | None:
        with stopping(), Show() as show:
            show.say(f"starting a broker, a manager and an on-demand consumer ({engine}, {MODEL})")
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
