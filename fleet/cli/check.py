"""`fleet check`: whether anything needs a look, for monitoring and for scripts."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from fleet.cli import options
from fleet.errors import BrokerRefused, BrokerUnreachable, ConnectionLost, UsageError
from fleet.subjects import plain, shown

if TYPE_CHECKING:
    from dashboard.findings import Finding, Limits
    from dashboard.saying import Form

FORMATS: Final = ("text", "json", "nagios", "prometheus")
# How often it looks until all is counted.
PACE_S: Final = 0.3
# Monitoring gives up on who says nothing for ten seconds.
CONNECT_S: Final = 4.0
EXIT_CODES: Final = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}
DEFAULTS: Final = {
    "realtime_warning_s": 30.0, "realtime_critical_s": 120.0, "oldest_warning_s": 3600.0,
    "oldest_critical_s": 21_600.0, "dead_warning": 1, "dead_critical": 1000,
}  # fmt: skip


class WrongOption(click.UsageError):
    """What monitoring calls unknown: two is how it calls a fleet that is down."""

    exit_code = EXIT_CODES["unknown"]


class Check(click.Command):
    """Ends as monitoring expects where an option is wrong, too."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:  # fmt: skip
        """Read the options. Raises WrongOption."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            raise WrongOption(error.format_message(), error.ctx) from error


@click.command(
    cls=Check,
    epilog="Exit codes, as monitoring plug-ins have them: 0 ok, 1 warning, 2 critical, 3 unknown, "
    "which is what a broker that does not answer comes to.",
)
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="text", show_default=True,
    help="How to say it.",
)  # fmt: skip
@click.option(
    "--set", "limits", multiple=True, metavar="NAME=NUMBER",
    help="From where on something is wrong: " + ", ".join(
        f"{name}={value:g}" for name, value in DEFAULTS.items()
    ) + ".",
)  # fmt: skip
@click.option("--ignore", "ignored", multiple=True, metavar="NAME",
              help="A finding that is said, and does not count for the exit code.")  # fmt: skip
@click.option("--prices", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              metavar="FILE", help="Price book; default: the package's example.")  # fmt: skip
@options.nats
def command(
    form: "Form",
    limits: tuple[str, ...],
    ignored: tuple[str, ...],
    prices: Path | None,
    nats: str | None,
) -> int:
    """Look once, and say what needs a look: lost and leaving nodes, stuck jobs, late batches.

    Everything that is looked at has a line, good or bad, whose name stays; the worst of them is
    the exit code. With `--format json`: an object with `level` and `findings`.
    """
    from dashboard.findings import worst
    from dashboard.saying import said

    try:
        bounds = _limits(limits)
        _check(ignored)
        found = options.run(_look(nats, prices, bounds))
    except UsageError as error:
        click.echo(f"fleet: {error}", err=True)
        return EXIT_CODES["unknown"]
    level = worst(found, ignored)
    click.echo(said(found, level, form))
    return EXIT_CODES[level]


def _check(ignored: tuple[str, ...]) -> None:
    """Raise UsageError for what is the name of no finding: it would be ignored for ever."""
    from dashboard.findings import NAMES

    for name in ignored:
        if name not in NAMES:
            raise UsageError(f"there is no finding {shown(name)}: there are {', '.join(NAMES)}")


async def _look(url: str | None, prices: Path | None, limits: "Limits") -> "list[Finding]":
    """Look until every count is believed; a broker that cannot be asked is a finding, too."""
    from dashboard.findings import Finding, findings
    from fleet.cli.audit import only_error
    from fleet.cli.top_data import CHECKED, whole
    from fleet.cli.top_source import live

    try:
        snapshot = await whole(live(url, prices=prices, pace_s=PACE_S, wait_s=CONNECT_S), CHECKED)
    except (BrokerRefused, BrokerUnreachable) as error:
        return [Finding(name="data", level="unknown", text=str(error))]
    except ExceptionGroup as group:
        # It is told by the tasks that read, and is a warning to nobody.
        lost = only_error(group)
        if not isinstance(lost, ConnectionLost):
            raise
        return [Finding(name="data", level="unknown", text=str(lost))]
    return findings(snapshot, limits)


def _limits(given: tuple[str, ...]) -> "Limits":
    """Read `NAME=NUMBER`. Raises UsageError."""
    from dashboard.findings import Limits

    values: dict[str, str] = {}
    for text in given:
        name, is_set, number = text.partition("=")
        if not is_set or name not in DEFAULTS:
            raise UsageError(
                f"there is no limit {shown(text)}: set {', '.join(DEFAULTS)}, as NAME=NUMBER"
            )
        values[name] = number
    try:
        return msgspec.convert(values, Limits, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"limits: {plain(str(error))}") from error
