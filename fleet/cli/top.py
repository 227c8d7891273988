"""`fleet top`: the screen that an operator leaves open, and what it knows as tables and JSON."""

import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from fleet.cli import options
from fleet.cli.times import Length
from fleet.errors import UsageError

if TYPE_CHECKING:
    from dashboard.acting import Operator
    from dashboard.source import Source

WINDOWS: Final = {"1m": 60.0, "5m": 300.0, "1h": 3600.0}
THEMES: Final = ("overbook-dark", "overbook-light", "ansi-dark", "ansi-light")
WEB: Final = "127.0.0.1:8090"


class Shape(NamedTuple):
    """How the screen looks, and what may be done on it."""

    interval_s: float
    window: str
    theme: str
    ascii_only: bool
    allow_actions: bool

    def flags(self) -> list[str]:
        """Write it as options, for a process that shows the same; never with actions."""
        flags = ["--interval", f"{self.interval_s:g}s", "--window", self.window]
        flags += ["--theme", self.theme]
        return [*flags, "--ascii"] if self.ascii_only else flags


class Where(NamedTuple):
    """What is looked at: a fleet, or a recording of one."""

    nats: str | None
    prices: Path | None
    replay: Path | None
    speed: float
    demo: bool

    @property
    def is_live(self) -> bool:
        """Whether there is a fleet behind it."""
        return self.replay is None and not self.demo

    def flags(self) -> list[str]:
        """Write it as options. The broker's address is not among them: it may hold a password."""
        if self.demo:
            return ["--demo"]
        flags = [] if self.prices is None else ["--prices", str(self.prices)]
        if self.replay is not None:
            flags += ["--replay", str(self.replay), "--speed", f"{self.speed:g}"]
        return flags

    def source(self) -> "Source":
        """Open it. Raises UsageError."""
        from dashboard.recorded import Recording
        from fleet.cli.top_source import live

        if self.demo:
            return Recording(incident(), loops=True)
        if self.replay is not None:
            return Recording(self.replay, speed=self.speed)
        return live(self.nats, prices=self.prices)


@click.command()
@click.option("--once", is_flag=True, help="Write it once, as tables, and end.")
@click.option("--record", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Keep what is seen in a new file; `.gz` compresses it.")  # fmt: skip
@click.option("--replay", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              metavar="FILE", help="Look at a recording; no broker is needed.")  # fmt: skip
@click.option("--speed", type=click.FloatRange(0.1, 100), default=1.0, show_default=True,
              help="How many times as fast --replay plays.")  # fmt: skip
@click.option("--demo", is_flag=True, help="Look at a fleet in trouble that was recorded.")
@click.option("--web", is_flag=False, flag_value=WEB, metavar="HOST:PORT",
              help=f"Serve it to browsers here, read-only; default {WEB}.")  # fmt: skip
@click.option("--web-origin", "origins", multiple=True, metavar="ORIGIN",
              help="Under which address else browsers reach it: that of a proxy.")  # fmt: skip
@click.option("--allow-actions", is_flag=True,
              help="Let keys drain, pause, requeue, cancel, drill; each asks first.")  # fmt: skip
@click.option("--interval", "interval_s", type=Length(), default="1s", show_default=True,
              metavar="LENGTH", help="How often to look, once a second at most.")  # fmt: skip
@click.option("--window", type=click.Choice(list(WINDOWS)), default="1m", show_default=True,
              help="Over what rates are.")  # fmt: skip
@click.option("--theme", type=click.Choice(THEMES), default=THEMES[0], show_default=True,
              help="Colours; NO_COLOR takes them away.")  # fmt: skip
@click.option("--ascii", "ascii_only", is_flag=True, help="Draw with ASCII alone.")
@click.option("--prices", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              metavar="FILE", help="Price book; default: the package's example.")  # fmt: skip
@options.nats
@options.as_json
def command(
    *,
    once: bool,
    record: Path | None,
    replay: Path | None,
    speed: float,
    demo: bool,
    web: str | None,
    origins: tuple[str, ...],
    allow_actions: bool,
    interval_s: float,
    window: str,
    theme: str,
    ascii_only: bool,
    prices: Path | None,
    nats: str | None,
    as_json: bool,
) -> None:
    """Watch a fleet: nodes, queues, jobs, money and trouble. `?` on the screen shows the keys.

    Nothing can be changed from it without --allow-actions. Without a terminal use --once, --json
    (an object a line) or --record.

    With --json: objects with `at`, `source`, `connected`, `age_s`, `read_at`, `troubles`,
    `window_s`, `level`, `findings`, `fleet`, `work`, and the rows of the views: `nodes`, `queues`,
    `jobs`, `batches`, `pools`, `costs`, `events`. Exit code 5 when the broker cannot be reached.
    """
    where = Where(nats, prices, replay, speed, demo)
    shape = Shape(max(1.0, interval_s), window, theme, ascii_only, allow_actions)
    is_written = once or as_json
    _check(where, shape, is_web=web is not None, record=record)
    _check_idle(where, is_web=web is not None, is_written=is_written, origins=origins)
    if once and record is not None:
        raise UsageError("--once looks once, and --record goes on: leave out one of them")
    if web is not None:
        _serve(web, where, shape, origins)
    elif is_written or (record is not None and not _has_terminal()):
        _write(where, shape, once=once, as_json=as_json, record=record)
    else:
        _show(where, shape, record)


def _check(where: Where, shape: Shape, *, is_web: bool, record: Path | None) -> None:
    if where.replay is not None and where.demo:
        raise UsageError("--demo is a recording of its own: leave out --replay")
    if shape.allow_actions and (is_web or not where.is_live):
        what = "in a browser" if is_web else "on a recording"
        raise UsageError(f"nobody can act {what}: leave out --allow-actions")
    if record is not None and (is_web or not where.is_live):
        raise UsageError("--record is for a fleet that is watched here: leave out the other option")


def _check_idle(where: Where, *, is_web: bool, is_written: bool, origins: Sequence[str]) -> None:
    """Refuse what would be ignored."""
    if is_web and is_written:
        raise UsageError("--web serves the screen: leave out --once and --json")
    if origins and not is_web:
        raise UsageError("--web-origin is for --web: leave it out, or serve the screen")
    if where.speed != 1.0 and where.replay is None:
        raise UsageError("--speed is for --replay: name a recording")
    if where.prices is not None and not where.is_live:
        raise UsageError("--prices is for a fleet: a recording holds what its nodes cost")


def incident() -> Path:
    """Name the recording that comes with the package."""
    import dashboard

    return Path(str(dashboard.__file__)).with_name("incident.jsonl.gz")


def _has_terminal() -> bool:
    """Tell whether somebody sees a screen: here, or through the server of a browser."""
    return "TEXTUAL_DRIVER" in os.environ or (sys.stdin.isatty() and sys.stdout.isatty())


def _write(where: Where, shape: Shape, *, once: bool, as_json: bool, record: Path | None) -> None:
    from fleet.cli import top_data

    source, window_s = where.source(), WINDOWS[shape.window]
    source.interval_s = shape.interval_s
    if once:
        options.run(
            top_data.once(source, window_s=window_s, as_json=as_json, ascii_only=shape.ascii_only)
        )
    elif record is not None and not as_json:
        options.run(top_data.record(source, record, say=lambda text: click.echo(text, err=True)))
    else:
        watched = source if record is None else top_data.Recorded(source, record)
        options.run(top_data.stream(watched, window_s=window_s))


def _show(where: Where, shape: Shape, record: Path | None) -> None:
    """Run the screen. What ended it, if not a key, is raised once the terminal is as it was."""
    if not _has_terminal():
        raise UsageError("there is no terminal: use --once, --json or --record")
    if find_spec("textual") is None:
        raise UsageError("the screen needs the extra `tui`: pip install 'overbook[tui]'")
    from fleet.cli import top_data

    source = where.source()
    watched = source if record is None else top_data.Recorded(source, record)
    options.run(_screen(watched, where, shape))


async def _operator(where: Where, stack: AsyncExitStack) -> "Operator":
    """Get a connection of its own for acts: reading has to go on whatever becomes of them."""
    from fleet.broker.connection import connect
    from fleet.broker.context import find_target
    from fleet.cli.acting import Acting
    from fleet.cli.who import who
    from fleet.settings import Settings

    settings = Settings.from_env(os.environ)
    target = find_target(where.nats, os.environ)
    connection = await stack.enter_async_context(connect(target, name="fleet-top-acts"))
    return Acting(connection, settings, by=who())


def _serve(address: str, where: Where, shape: Shape, origins: Sequence[str]) -> None:
    """Serve to browsers, each with a process of its own, until Ctrl-C."""
    from dashboard.web import serve
    from fleet.cli.stopping import stopping

    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"--web {address!r} is no address: write {WEB}")
    # By the environment, for anybody may list processes, and the address may hold a password.
    if where.nats is not None:
        os.environ["FLEET_NATS"] = where.nats
    view = [sys.executable, "-m", "fleet", "top", *where.flags(), *shape.flags()]

    def ready(url: str) -> None:
        click.echo(f"{url} until Ctrl-C; there is no login", err=True)

    async def until_stopped() -> None:
        with stopping() as stop:
            await serve(view, host=host, port=int(port), origins=origins, stop=stop.asked,
                        on_ready=ready)  # fmt: skip

    options.run(until_stopped())


async def _screen(source: "Source", where: Where, shape: Shape) -> None:
    from dashboard.app import Dashboard
    from dashboard.look import Look

    async with AsyncExitStack() as stack:
        operator = await _operator(where, stack) if shape.allow_actions else None
        app = Dashboard(
            source,
            look=Look(shape.ascii_only),
            interval_s=shape.interval_s,
            window_s=WINDOWS[shape.window],
            operator=operator,
            is_live=where.is_live,
            theme=shape.theme,
        )
        await app.run_async()
    if app.failure is not None:
        raise app.failure
