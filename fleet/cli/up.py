"""`fleet up`: a fleet on this machine, in the foreground."""

import asyncio
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from fleet.cli import options
from fleet.cli.stopping import stopping
from fleet.errors import UsageError
from fleet.exits import INTERRUPTED

if TYPE_CHECKING:
    from fleet.pool.replace import Replace


def fleet_options(command: click.decorators.FC) -> click.decorators.FC:
    """Add the options that say what the consumers run."""
    for option in reversed((
        click.option("--engine", type=click.Choice(["vllm", "scripted"]), default="vllm",
                     show_default=True, help="Real inference, or deterministic tokens."),
        click.option("--model-path", metavar="DIR", help="Model directory, if not set up by name."),
        click.option("--slots", type=click.IntRange(1), metavar="N",
                     help="Requests in an engine at once."),
        click.option("--token-rate", type=click.FloatRange(0), metavar="R",
                     help="Scripted engine: tokens a second of one request."),
        click.option("--engine-arg", multiple=True, metavar="NAME=VALUE",
                     help="Further argument of vLLM's AsyncEngineArgs; may be repeated."),
    )):  # fmt: skip
        command = option(command)
    return command


def consumer_arguments(given: dict[str, Any]) -> tuple[str, ...]:
    """Pass what was given on to `python -m consumers`."""
    arguments: list[str] = []
    for name in ("model_path", "slots", "token_rate"):
        if given[name] is not None:
            arguments += [f"--{name.replace('_', '-')}", str(given[name])]
    for text in given["engine_arg"]:
        arguments += ["--engine-arg", text]
    return tuple(arguments)


def prepare_engine(engine: str, model: str, model_path: str | None = None) -> None:
    """See to it, once, that consumers will not fail or convert the model one by one.

    Raises UsageError.
    """
    if engine != "vllm":
        return
    if find_spec("vllm") is None:
        raise UsageError(
            "vLLM is not installed: run `fleet setup`, or use `--engine scripted` for "
            "deterministic tokens without a model"
        )
    if model_path is None:
        from consumers.setup.models import cache_dir, ensure_model

        ensure_model(model, cache_dir(), say=lambda text: click.echo(text, err=True))


@click.command()
@click.option(
    "--model",
    default="smollm2",
    show_default=True,
    metavar="SLUG",
    help="Alias under which jobs name the model.",
)
@click.option("--on-demand", type=click.IntRange(0), default=1, show_default=True, metavar="N",
              help="Consumers that serve all tiers, batches only at need.")  # fmt: skip
@click.option("--spot", type=click.IntRange(0), default=2, show_default=True, metavar="N",
              help="Consumers that serve background and batch.")  # fmt: skip
@click.option(
    "--zones",
    default="a,b,c",
    show_default=True,
    metavar="A,B,C",
    help="Zones that the consumers are spread over.",
)
@options.nats
@click.option(
    "--store",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for the broker's files and the logs; default: a temporary one.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="P",
    help="Port of our own broker on 127.0.0.1; default: a free one.",
)
@click.option(
    "--replace",
    is_flag=True,
    help="Start another consumer also for one that was drained, not only for one that died.",
)
@click.option("--no-restart", is_flag=True, help="Start no other consumer for one that died.")
@click.option(
    "--allow-drills",
    is_flag=True,
    help="Mark the fleet as one that `fleet drill` may hurt, for as long as it is up.",
)
@click.option(
    "--managed",
    is_flag=True,
    help="Let a manager start and end consumers: --on-demand is its baseline, --spot the most.",
)
@click.option(
    "--most-on-demand",
    type=click.IntRange(0),
    default=2,
    show_default=True,
    metavar="N",
    help="With --managed: consumers at most that stand in for spot when a deadline presses.",
)
@fleet_options
@options.as_json
def command(**given: Any) -> int:
    """Run a fleet here until Ctrl-C, which drains it: broker, queues and consumers.

    A consumer that dies is replaced by a new one, and the broker of our own is started again where
    it was. With --json the first line on stdout, once every consumer is ready, is an object with
    `event`: "ready", `nats`, `model` and `consumers` (node, pid, capacity_type, zone); later lines
    tell which consumer ended ("ended": node, code, replaced_in_s) and which one came in its place
    ("replaced": node, replacement), or was started by the manager ("started": node, pid,
    capacity_type, zone).

    With --managed consumers are as many as the work needs, at example prices: spot for batches,
    on-demand for real-time, and in place of spot when a deadline presses. `fleet pool` tells why.
    """
    from fleet.pool.fleet_plan import FleetPlan

    prepare_engine(given["engine"], given["model"], given["model_path"])
    if given["nats"] and (given["store"] or given["port"]):
        raise UsageError(
            "--store and --port are for a broker of our own: leave them out with --nats"
        )
    if given["replace"] and given["no_restart"]:
        raise UsageError("--replace and --no-restart contradict each other: give one of them")
    if given["managed"] and given["replace"]:
        raise UsageError("--managed and --replace contradict each other: a manager replaces anyway")
    plan = FleetPlan(
        model=given["model"],
        engine=given["engine"],
        on_demand=given["on_demand"],
        spot=given["spot"],
        zones=tuple(zone for zone in given["zones"].split(",") if zone) or ("a",),
        nats=given["nats"],
        store=given["store"],
        port=given["port"],
        replace=_replace(given),
        allow_drills=given["allow_drills"],
        arguments=consumer_arguments(given),
        **_managed(given),
    )
    return options.run(_up(plan, as_json=given["as_json"]))


def _replace(given: dict[str, Any]) -> "Replace":
    if given["replace"]:
        return "all"
    return "nobody" if given["no_restart"] or given["managed"] else "died"


def _managed(given: dict[str, Any]) -> dict[str, Any]:
    """Say how a manager is to run the fleet, if one is."""
    if not given["managed"]:
        return {}
    from fleet.pool.knobs import Knobs
    from fleet.pool.managed import PRICES_USD_PER_HOUR, QUICK

    knobs = Knobs(
        baseline=given["on_demand"],
        most_spot=given["spot"],
        most_on_demand=given["most_on_demand"],
        tuning=QUICK,
    )
    return {"managed": knobs, "prices_usd_per_hour": PRICES_USD_PER_HOUR}


async def _up(plan: Any, *, as_json: bool) -> int:
    from fleet.cli.progress import Show
    from fleet.pool.fleet_plan import Ended, Replaced, Started
    from fleet.pool.fleet_up import fleet_up
    from fleet.pool.local import ending

    def tell(event: dict[str, Any], words: str) -> None:
        if as_json:
            click.echo(msgspec.json.encode(event))
        click.echo(words, err=True)

    def changed(change: Ended | Replaced | Started) -> None:
        name = change.node.node
        match change:
            case Ended(code=code, replaced_in_s=in_s):
                tell(
                    {"event": "ended", "node": name, "code": code, "replaced_in_s": in_s},
                    f"{name} ended with {ending(code)}"
                    + (f" ({change.last_words})" if change.failed else "")
                    + (f"; another one starts in {in_s:.0f} s" if in_s else ""),
                )
            case Replaced(by=other):
                tell(
                    {"event": "replaced", "node": name, "replacement": _described(other)},
                    f"{other.node} takes the place of {name}",
                )
            case Started(node=node):
                tell(
                    {"event": "started", **_described(node)},
                    f"{name} is started in zone {node.zone}",
                )

    def loading(done: int, total: int) -> None:
        show.bar("consumers that are ready", done, total)

    with stopping() as stop, Show() as show:
        spot = f"up to {plan.spot}" if plan.managed else f"{plan.spot}"
        show.say(
            f"starting {plan.on_demand} on-demand and {spot} spot consumers "
            f"({plan.engine}, {plan.model})"
        )
        try:
            async with fleet_up(plan, on_change=changed, on_ready=loading) as fleet:
                show.close()
                stop.hasten = fleet.pool.kill_all
                consumers = fleet.pool.running()
                tell(
                    {
                        "event": "ready",
                        "nats": fleet.nats,
                        "model": plan.model,
                        "monitor": fleet.monitor,
                        "consumers": [_described(node) for node in consumers],
                    },
                    f"ready at {fleet.nats}; Ctrl-C drains\n"
                    + "\n".join(f"  {n.node} pid {n.pid} zone {n.zone}" for n in consumers),
                )
                await stop.asked()
                click.echo("draining; Ctrl-C again kills", err=True)
        except asyncio.CancelledError:
            click.echo("stopped before it was ready", err=True)
            return INTERRUPTED
    tell({"event": "stopped"}, "stopped")
    return 0


def _described(node: Any) -> dict[str, Any]:
    return {
        "node": node.node, "pid": node.pid, "capacity_type": node.capacity_type, "zone": node.zone
    }  # fmt: skip
