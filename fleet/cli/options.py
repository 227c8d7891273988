"""Options that several commands share, and how a command runs its coroutine."""

from collections.abc import Callable
from typing import Any, TypeAlias

import click

from fleet.loop import run

__all__ = ["as_json", "model", "nats", "run", "tenant", "timeout"]
Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]

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


def timeout(what_goes_on: str) -> Decorator:
    """Make the option that bounds the wait for an answer, as `timeout_s`."""
    return click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(0, min_open=True),
        default=120.0,
        show_default=True,
        metavar="SECONDS",
        help=f"How long to wait for the answer; {what_goes_on} after it.",
    )
