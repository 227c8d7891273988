"""`fleet dead`: jobs that were given up, why, and what becomes of them."""

import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import click
import msgspec

from dashboard.acting import OnLetter, Target
from fleet.broker.connection import Connection
from fleet.broker.dead import DeadLetter, DeadLetters, Opened
from fleet.broker.provision import served_models
from fleet.cli import options
from fleet.cli.audit import commanded
from fleet.cli.confirm import confirm
from fleet.cli.reached import reached
from fleet.cli.table import aligned
from fleet.cli.terminal import write
from fleet.cli.times import length
from fleet.errors import FleetError, UsageError
from fleet.requeue import requeue as requeue_letter
from fleet.subjects import plain

REASON_WIDTH = 60
EVERY = 1_000_000
FAILED = 1
T = TypeVar("T")


@click.group("dead")
def command() -> None:
    """Jobs that were given up: list, look into, try again, drop."""


letter_argument = click.argument("letter", type=click.IntRange(1), metavar="ID")
letters_argument = click.argument("letters", type=click.IntRange(1), metavar="[ID]...", nargs=-1)
all_option = click.option("--all", "every", is_flag=True, help="All that the filters leave.")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def filtered(inner: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose among letters."""
    for option in reversed((
        click.option("--tenant", metavar="NAME", help="Only of this tenant."),
        click.option("--model", metavar="NAME", help="Only for this model."),
        click.option("--code", metavar="CODE", help="Only with this cause, as `ls` shows it."),
    )):  # fmt: skip
        inner = option(inner)
    return inner


@command.command("ls")
@filtered
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, metavar="N",
              help="The most that are listed.")  # fmt: skip
@options.nats
@options.as_json
def ls(
    *,
    tenant: str | None,
    model: str | None,
    code: str | None,
    limit: int,
    nats: str | None,
    as_json: bool,
) -> None:
    """List the newest dead letters, oldest of them first."""
    found = _with(
        nats, lambda c: DeadLetters(c).list(limit=limit, tenant=tenant, model=model, code=code)
    )
    if as_json:
        for letter in found:
            click.echo(msgspec.json.encode(letter))
    elif found:
        click.echo(_table(found, now=time.time()))
    click.echo(f"{len(found)} dead letters", err=True)


@command.command("show", short_help="Show one dead letter, its cause and its history.")
@letter_argument
@click.option("--show-payload", is_flag=True, help="Also show the job's body, prompts and all.")
@options.nats
@options.as_json
def show(*, letter: int, show_payload: bool, nats: str | None, as_json: bool) -> None:
    """Show one dead letter: the cause, the job's headers and history, size and hash of its body."""
    opened = _with(nats, lambda connection: DeadLetters(connection).open(letter))
    if as_json:
        _write_json(_object(opened, show_payload=show_payload))
        return
    click.echo(_text(opened))
    if show_payload:
        write(opened.payload.decode(errors="replace") + "\n")


@command.command("requeue", short_help="Queue jobs again, each under a new id.")
@letters_argument
@all_option
@filtered
@yes_option
@options.nats
@options.as_json
def requeue(
    *,
    letters: tuple[int, ...],
    every: bool,
    tenant: str | None,
    model: str | None,
    code: str | None,
    yes: bool,
    nats: str | None,
    as_json: bool,
) -> int:
    """Queue jobs again, each as a new job with the id `<old id>-r<ID>`, and drop their letters.

    The old id keeps its error result. A job of a batch file leaves its batch, whose item has its
    end; a deadline is not taken along. Safe to repeat. Exit code 1 if some could not be queued.
    """
    _check_choice(letters, every=every, filters=(tenant, model, code))

    async def run(connection: Connection) -> int:
        chosen = letters or await _chosen(connection, tenant, model, code)
        if not chosen:
            return _nothing_chosen()
        if every:
            confirm(f"Queue {len(chosen)} jobs again?", yes=yes)
        models, failed = await served_models(connection), 0
        async with commanded(connection, "requeue", _target(chosen)) as act:
            for sequence in chosen:
                try:
                    done = await requeue_letter(connection, sequence, models=models)
                except FleetError as error:
                    if len(chosen) == 1:
                        raise
                    failed += 1
                    click.echo(f"fleet: {error}", err=True)
                    continue
                text = f"{sequence}: {done.former_job} is queued again as {done.job}"
                click.echo(msgspec.json.encode(done) if as_json else text)
            act.result = f"{len(chosen) - failed} queued again, {failed} could not be"
        return FAILED if failed else 0

    return _with(nats, run)


@command.command("drop", short_help="Remove dead letters for good.")
@letters_argument
@all_option
@filtered
@yes_option
@options.nats
def drop(
    *,
    letters: tuple[int, ...],
    every: bool,
    tenant: str | None,
    model: str | None,
    code: str | None,
    yes: bool,
    nats: str | None,
) -> int:
    """Remove dead letters for good; the error results of their jobs stay."""
    _check_choice(letters, every=every, filters=(tenant, model, code))

    async def run(connection: Connection) -> int:
        chosen = letters or await _chosen(connection, tenant, model, code)
        if not chosen:
            return _nothing_chosen()
        dead = DeadLetters(connection)
        if letters:
            for sequence in chosen:
                await dead.open(sequence)
        confirm(f"Drop {len(chosen)} dead letters for good?", yes=yes)
        dropped = 0
        async with commanded(connection, "drop", _target(chosen)) as act:
            for sequence in chosen:
                if await dead.drop(sequence):
                    dropped += 1
                    click.echo(f"{sequence}: dropped")
            act.result = f"{dropped} dropped"
        return 0

    return _with(nats, run)


async def _chosen(
    connection: Connection, tenant: str | None, model: str | None, code: str | None
) -> tuple[int, ...]:
    found = await DeadLetters(connection).list(limit=EVERY, tenant=tenant, model=model, code=code)
    return tuple(letter.sequence for letter in found)


def _target(chosen: Sequence[int]) -> Target | str:
    """Name the letters that an act is about."""
    if len(chosen) == 1:
        return OnLetter(letter=chosen[0])
    return f"{len(chosen)} dead letters: {', '.join(map(str, chosen))}"


def _nothing_chosen() -> int:
    click.echo("no dead letter fits: nothing to do", err=True)
    return 0


def _check_choice(letters: Sequence[int], *, every: bool, filters: tuple[str | None, ...]) -> None:
    if every == bool(letters):
        raise UsageError("name dead letters by their ids, or say --all")
    if letters and any(filters):
        raise UsageError("--tenant, --model and --code choose among --all: leave the ids out")


def _with(nats: str | None, action: Callable[[Connection], Awaitable[T]]) -> T:
    """Run one action with a connection."""

    async def run() -> T:
        async with _connected(nats) as connection:
            return await action(connection)

    return options.run(run())


@asynccontextmanager
async def _connected(nats: str | None) -> AsyncIterator[Connection]:
    async with reached(nats, name="fleet-dead") as connection:
        yield connection


def _table(letters: Sequence[DeadLetter], *, now: float) -> str:
    rows = [("ID", "AGE", "TENANT", "TIER", "MODEL", "JOB", "CODE", "REASON")]
    rows += (
        (
            str(one.sequence), length(max(0.0, now - one.buried_at)), plain(one.tenant),
            plain(one.tier), plain(one.model), plain(one.job or "-"), plain(one.code),
            plain(one.reason, limit=REASON_WIDTH),
        )
        for one in letters
    )  # fmt: skip
    return aligned(rows)


def _text(opened: Opened) -> str:
    """Describe a letter; every foreign text escaped, so that a terminal obeys none of it."""
    letter = opened.letter
    digest = hashlib.sha256(opened.payload).hexdigest()
    body = opened.omitted or f"{len(opened.payload)} bytes, sha256 {digest}"
    when = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(letter.buried_at))
    facts = {
        "dead letter": str(letter.sequence),
        "given up": when,
        "job": opened.job,
        "tenant": letter.tenant,
        "code": letter.code,
        "reason": letter.reason,
        "came on": opened.subject,
        "stored at": f"{letter.stream} {letter.stream_sequence}",
        "body": f"not kept: {body}" if opened.omitted else body,
    }
    lines = [f"{name:12} {plain(value, limit=2000)}" for name, value in facts.items()]
    lines += (
        f"{'header':12} {plain(name)}: {plain(value)}" for name, value in opened.headers.items()
    )
    lines += (f"{'history':12} {plain(one)}" for one in letter.history)
    return "\n".join(lines)


def _write_json(value: object) -> None:
    """Write a line of JSON; on a terminal without what the terminal would obey."""
    write(msgspec.json.encode(value).decode() + "\n")


def _object(opened: Opened, *, show_payload: bool) -> dict[str, object]:
    """Build what `--json` writes."""
    found: dict[str, object] = msgspec.to_builtins(opened.letter)
    found |= {
        "job": opened.job,
        "subject": opened.subject,
        "headers": opened.headers,
        "omitted": opened.omitted,
        "sha256": hashlib.sha256(opened.payload).hexdigest(),
    }
    if show_payload:
        found["payload"] = opened.payload.decode(errors="replace")
    return found
