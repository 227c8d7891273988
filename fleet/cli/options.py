"""Options that several commands share, and how a command runs its coroutine."""

import click

from fleet.loop import run

__all__ = ["as_json", "model", "nats", "run", "tenant"]

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
