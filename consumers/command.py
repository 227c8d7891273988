"""The command that runs a consumer: `python -m consumers` and `fleet consumer` are the same."""

import gc
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal

import click

from consumers.engine import Engine
from consumers.engine_settings import VllmSettings, engine_args
from fleet.job import CapacityType
from fleet.loop import run
from fleet.settings import Settings
from fleet.subjects import token

EngineName = Literal["vllm", "scripted"]
log = logging.getLogger(__name__)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("capacity_type", type=click.Choice(["on-demand", "spot"]))
@click.option("--model", required=True, metavar="SLUG", help="Alias under which jobs name it.")
@click.option("--model-path", metavar="DIR", help="Model directory; default: the alias, set up.")
@click.option(
    "--engine",
    type=click.Choice(["vllm", "scripted"]),
    default="vllm",
    show_default=True,
    help="Real inference, or deterministic tokens without a model.",
)
@click.option(
    "--nats", metavar="URL", help="Broker address; default: FLEET_NATS, NATS_*, contexts."
)
@click.option("--node", metavar="NAME", help="Name of this node; default: host name and a token.")
@click.option("--zone", metavar="ZONE", help="Zone it runs in.")
@click.option("--price", type=float, metavar="USD", help="Price of this node an hour.")
@click.option(
    "--slots", type=click.IntRange(1), metavar="N", help="Requests in the engine at once."
)
@click.option(
    "--token-rate",
    type=click.FloatRange(0),
    default=0.0,
    metavar="R",
    help="Scripted engine: tokens a second of one request; 0 is as fast as can be.",
)
@click.option("--task", type=click.Choice(["generate", "embed"]), help="Kind of model.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="What the engine runs on; auto: a GPU where there is one.",
)
@click.option("--dtype", metavar="TYPE", help="float32 makes greedy resume exact; default on CPU.")
@click.option("--max-model-len", type=click.IntRange(1), metavar="N", help="Context in tokens.")
@click.option("--kv-cache", metavar="BYTES", type=click.IntRange(1), help="Size of the KV cache.")
@click.option(
    "--tensor-parallel-size",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="GPUs over which the model is split.",
)
@click.option(
    "--engine-arg",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any other argument of vLLM's AsyncEngineArgs; may be repeated.",
)
@click.option("--log-format", type=click.Choice(["text", "json"]), help="Of the log on stderr.")
def command(**options: Any) -> None:
    """Take jobs from the queue as an on-demand or a spot consumer, until SIGTERM drains it.

    An on-demand consumer serves real-time jobs, and background jobs that find no spot. A spot
    consumer serves background and batch jobs and hands what it holds to others when it is told to
    go. Other settings come from FLEET_* variables. Exit code 0: drained; 1: engine or broker lost.
    """
    from consumers.identity import identity
    from consumers.process import consume
    from fleet import log as log_sink
    from fleet.broker.context import find_target
    from fleet.tracing import tracing

    settings = Settings.from_env(
        os.environ,
        nats=options["nats"],
        node=options["node"],
        zone=options["zone"],
        price_usd_per_hour=options["price"],
        log_format=options["log_format"],
    )
    log_sink.set_up(settings.log_format)
    model = token(options["model"], what="model")
    capacity_type: CapacityType = options["capacity_type"]
    me = identity(
        node=token(settings.node or _name(capacity_type), what="node"),
        capacity_type=capacity_type,
        model=model,
        engine=options["engine"],
        settings=settings,
    )
    # A job makes some hundred objects that live for its few round trips. With the default of 700
    # the collector looks at all of them several times a job, for a tenth of our processor time.
    gc.set_threshold(20_000)
    with tracing(os.environ, node=me.node) as traces:
        run(
            consume(
                me=me,
                settings=settings,
                target=find_target(settings.nats, os.environ),
                traces=traces,
                start_engine=lambda: start_engine(
                    model, options, counts=settings.health_port is not None
                ),
            )
        )


def start_engine(
    model: str, options: dict[str, Any], *, counts: bool = False
) -> AbstractAsyncContextManager[Engine]:
    """Choose the engine that the options name; it starts when the context is entered.

    counts: whether somebody may ask for what vLLM counts.
    """
    if options["engine"] == "scripted":
        return _scripted(model, options)
    return _vllm(model, options, counts=counts)


@asynccontextmanager
async def _scripted(model: str, options: dict[str, Any]) -> AsyncIterator[Engine]:
    from consumers import mishaps
    from consumers.scripted_engine import ScriptedEngine

    yield ScriptedEngine(
        model=model,
        tokens_per_s=options["token_rate"],
        slots=options["slots"] or 32,
        pitfalls=mishaps.parse(os.environ),
    )


@asynccontextmanager
async def _vllm(model: str, options: dict[str, Any], *, counts: bool) -> AsyncIterator[Engine]:
    from consumers.setup.apart import model_dir
    from consumers.setup.models import cache_dir
    from consumers.vllm_engine import start

    arguments = engine_args(options["engine_arg"])
    if "trust_remote_code" in arguments:
        log.warning("the model's own code will be run: make sure whose it is")
    path = options["model_path"] or await model_dir(model, cache_dir(os.environ))
    settings = VllmSettings(
        model_path=str(path),
        served_model=model,
        device=options["device"],
        dtype=options["dtype"],
        max_model_len=options["max_model_len"],
        max_num_seqs=options["slots"],
        kv_cache_memory_bytes=options["kv_cache"],
        tensor_parallel_size=options["tensor_parallel_size"],
        task=options["task"],
        engine_args=arguments,
        counts=counts,
    )
    async with start(settings) as engine:
        yield engine


def _name(capacity_type: CapacityType) -> str:
    """Name a node after its host, with a token: a process that comes back is another node."""
    host = "".join(c if c.isalnum() else "-" for c in socket.gethostname().lower())[:40].strip("-")
    return f"{capacity_type}-{host or 'host'}-{secrets.token_hex(3)}"
