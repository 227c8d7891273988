"""What `fleet tenant` only shows: who there is, whether a change is half-done, how to connect."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import msgspec

from fleet.cli import options
from fleet.cli.table import aligned
from fleet.subjects import plain
from fleet.tenancy.grants import inbox_prefix
from fleet.tenancy.register import (
    MARK,
    ROLES,
    Register,
    Tenant,
    known_in,
    role_of,
    without_expired,
)
from fleet.tenancy.render import mark_of

FAILED: Final = 1

folder_option = click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Where tenants.json, accounts.conf and keys/ are.  [default: here]",
)


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `ls`. keys: that count now. expired: that do not, until the next change."""

    name: str
    keys: int
    expired: int
    tiers: tuple[str, ...]
    models: tuple[str, ...]


@click.command("check", short_help="Say whether a change is half-done.")
@click.option(
    "--servers", is_flag=True,
    help="Ask every server, as @system, whether it has this register in force.",
)  # fmt: skip
@options.nats
@folder_option
@options.as_json
@click.pass_context
def check(
    context: click.Context, *, servers: bool, nats: str | None, folder: Path, as_json: bool
) -> None:
    """Say whether a change is half-done, here or at a server: exit code 1 and what it is.

    With --json: an object with `ok`, and with `found`, a text for each thing.
    """
    from fleet.cli.tenant_files import opened

    with opened(folder) as place:
        register = place.load()
        found = place.state(register)
        if servers:
            found += options.run(_behind(register, place.seed_file(f"{MARK}system"), nats))
    if as_json:
        click.echo(msgspec.json.encode({"ok": not found, "found": found}))
    else:
        for line in found:
            click.echo(line)
    if found:
        click.echo(
            "`fleet tenant apply` writes the accounts anew; then reload each server", err=True
        )
    context.exit(FAILED if found else 0)


@click.command("ls")
@folder_option
@options.as_json
def ls(folder: Path, *, as_json: bool) -> None:
    """List identities and tenants."""
    from fleet.cli.tenant_files import opened

    with opened(folder) as place:
        listed = _listed(place.load())
    if as_json:
        for one in listed:
            click.echo(msgspec.json.encode(one))
        return
    rows = [
        (one.name, str(one.keys), ",".join(one.tiers) or "all", ",".join(one.models) or "all")
        for one in listed
    ]
    click.echo(aligned([("NAME", "KEYS", "TIERS", "MODELS"), *rows]))


@click.command("context", short_help="Print a context for the nats CLI.")
@click.argument("name")
@click.option("--url", required=True, metavar="URL", help="The servers, comma-separated.")
@click.option("--ca", metavar="FILE", help="Where the authority's certificate will lie.")
@click.option(
    "--nkey", metavar="FILE", help="Where the seed will lie; without it, where it lies here."
)
@folder_option
def context(*, name: str, url: str, ca: str | None, nkey: str | None, folder: Path) -> None:
    """Print the file of a context of the nats CLI with which NAME connects.

    Both `nats` and `fleet` read it from nats/context/ in XDG_CONFIG_HOME, by NATS_CONTEXT.
    """
    from fleet.cli.tenant_files import opened

    role = role_of(name)
    with opened(folder) as place:
        known_in(place.load(), name)
        seed = nkey or str(place.seed_file(name).absolute())
    fields = {
        "description": f"{name}, of {folder.absolute().name}",
        "url": url,
        "nkey": seed,
        "ca": ca,
        "inbox_prefix": None if role is None else inbox_prefix(role),
    }
    given = {field: value for field, value in fields.items() if value is not None}
    click.echo(msgspec.json.format(msgspec.json.encode(given), indent=2))


async def _behind(register: Register, seed: Path, url: str | None) -> list[str]:
    """Name the servers that have another register in force."""
    import os

    from fleet.broker.servers import accounts_of_servers
    from fleet.cli.reached import reached

    env = {**os.environ, "NATS_NKEY": str(seed), "NATS_INBOX_PREFIX": inbox_prefix("system")}
    async with reached(url, name="fleet-tenant", env=env) as connection:
        found = await accounts_of_servers(connection)
    mark = mark_of(without_expired(register, datetime.now(UTC)))
    click.echo(f"{len(found)} servers answered: {', '.join(sorted(found))}", err=True)
    return [
        f"server {plain(name)} has another register in force: copy accounts.conf to it and reload"
        for name, accounts in sorted(found.items())
        if mark not in accounts
    ]


def _listed(register: Register) -> list[Listed]:
    now = datetime.now(UTC)
    owned: list[tuple[str, Tenant]] = [
        *((MARK + role, Tenant(keys=register.identities.get(role, ()))) for role in ROLES),
        *sorted(register.tenants.items()),
    ]
    return [
        Listed(
            name=name,
            keys=sum(key.counts(now) for key in tenant.keys),
            expired=sum(not key.counts(now) for key in tenant.keys),
            tiers=tuple(map(str, tenant.tiers)),
            models=tenant.models,
        )
        for name, tenant in owned
    ]
