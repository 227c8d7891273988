"""The command `fleet`: which commands there are.

Nothing heavy is imported here: a command's module is loaded when the command is called.
"""

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Final, NamedTuple

import click

from fleet.exits import run_command

EPILOG: Final = (
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 some items failed, 4 not found, "
    "5 broker unreachable, 6 refused by the broker, 130 interrupted."
)


class Lazy(NamedTuple):
    """A command that is loaded when it is called. name: of the click command in the module."""

    module: str
    help: str
    name: str = "command"


COMMANDS: Final[Mapping[str, Lazy]] = {
    "demo": Lazy("fleet.cli.demo", "See a fleet lose a node and finish its work, on this machine."),
    "setup": Lazy("fleet.cli.setup", "Install the real engine and a small model."),
    "up": Lazy("fleet.cli.up", "Run a broker and consumers on this machine."),
    "submit": Lazy("fleet.cli.submit", "Send one request and follow its answer."),
    "attach": Lazy("fleet.cli.attach", "Follow a job that was submitted before."),
    "batch": Lazy("fleet.cli.batch", "Send a file of requests, watch it, collect its results."),
    "cancel": Lazy("fleet.cli.cancel", "End one job, whether it waits or runs."),
    "dead": Lazy("fleet.cli.dead", "Jobs that were given up: list, try again, drop."),
    "consumer": Lazy("fleet.cli.consumer", "Run one consumer: take jobs from the queue."),
    "nodes": Lazy("fleet.cli.nodes", "List the nodes that are alive."),
    "drain": Lazy("fleet.cli.drain", "Let go of a node: it hands over what it holds.", "drain"),
    "resume": Lazy("fleet.cli.drain", "Call a node back that was told to drain.", "resume"),
    "drill": Lazy("fleet.cli.drill", "Interrupt a node on purpose, and see what comes of it."),
    "pool": Lazy("fleet.cli.pool", "Run a pool of nodes by deadlines and prices, and see why."),
    "top": Lazy("fleet.cli.top", "Watch a fleet on a screen: nodes, queues, jobs, money, trouble."),
    "why": Lazy("fleet.cli.why", "Why a job or a batch waits, and until when."),
    "simulate": Lazy("fleet.cli.simulate", "What spot would cost, recorded or made up."),
    "verify": Lazy("fleet.cli.verify", "Prove that nothing was lost and nothing said twice."),
    "cost": Lazy("fleet.cli.cost", "What it cost: useful work, waste, and what was saved."),
    "metrics": Lazy("fleet.cli.metrics", "Tell Prometheus of queues, nodes, pools and cost."),
    "sweep": Lazy("fleet.cli.sweep", "End the jobs that no consumer ever will."),
    "tenant": Lazy("fleet.cli.tenant", "Who may use the broker: add, rotate and remove keys."),
    "backup": Lazy("fleet.cli.backup", "Copy the broker's streams into a folder.", "backup"),
    "restore": Lazy("fleet.cli.backup", "Put a backup into an empty broker.", "restore"),
    "init": Lazy("fleet.cli.init", "Create streams, durables and buckets on a broker."),
    "check": Lazy("fleet.cli.check", "Whether anything needs a look, for monitoring."),
    "doctor": Lazy("fleet.cli.doctor", "Check broker, configuration and clock."),
}


class LazyGroup(click.Group):
    """A group that shows its commands without loading them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        lazy = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(lazy.module), lazy.name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the table; click would load every command for its help."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in COMMANDS.items()])


@click.command(
    cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="overbook", prog_name="fleet")
def cli() -> None:
    """LLM inference on a fleet of spot and on-demand GPUs, queued on NATS JetStream."""


def main(args: list[str] | None = None) -> None:
    """Run the command line and end the process with one of the documented exit codes."""
    sys.exit(run_command(cli, args, name="fleet"))
