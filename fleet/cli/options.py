"""Options that several commands share, and how a command runs its coroutine."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

import click

T = TypeVar("T")

nats = click.option(
    "--nats",
    metavar="URL",
    envvar="FLEET_NATS",
    show_envvar=True,
    help="Address of the broker. Without it, NATS_* variables and the nats CLI's contexts count.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout.")
tenant = click.option(
    "--tenant",
    metavar="NAME",
    envvar="FLEET_TENANT",
    default="default",
    show_default=True,
    show_envvar=True,
    help="On whose behalf.",
)
model = click.option(
    "--model", metavar="NAME", required=True, help="The model's served name, such as `smollm2`."
)


def run(main: Coroutine[object, object, T]) -> T:
    """Run `main` to its end, on uvloop where it is installed."""
    try:
        from uvloop import new_event_loop  # noqa: PLC0415 - absent on Windows
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)
