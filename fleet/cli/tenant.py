"""`fleet tenant`: who may use the broker, declared in one file and turned into its accounts."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from fleet.cli import options
from fleet.cli.table import aligned
from fleet.cli.times import Length
from fleet.errors import UsageError
from fleet.job import TIERS, Tier
from fleet.tenancy.grants import inbox_prefix
from fleet.tenancy.keys import new_key
from fleet.tenancy.register import (
    MARK,
    ROLES,
    Key,
    Register,
    Role,
    Tenant,
    known_in,
    role_of,
    with_new_key,
    with_tenant,
    without_tenant,
)

OVERLAP_S: Final = 86_400.0
FAILED: Final = 1


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `ls`. keys: that count now. expired: that do not, until the next change."""

    name: str
    keys: int
    expired: int
    tiers: tuple[str, ...]
    models: tuple[str, ...]


class _Overlap(Length):
    """A length of time that may be none."""

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        return 0.0 if value in {"0", "0s"} else super().convert(value, param, ctx)


@click.group("tenant")
def command() -> None:
    """Who may use the broker: tenants with accounts of their own, and the fleet's identities.

    One file, tenants.json, says who there is and holds public keys alone. From it the server's
    accounts.conf is made, checked by the server's own parser, and put in place whole. The fleet's
    identities are named with an @, such as @spot or @dashboard.
    """


def _in_folder(inner: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every change has."""
    for option in (
        click.option(
            "--reload", "pid_file", type=click.Path(path_type=Path), metavar="FILE",
            help="The server's pid_file: have it read the new accounts at once.",
        ),
        _dir,
    ):  # fmt: skip
        inner = option(inner)
    return inner


_dir = click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Where tenants.json, accounts.conf and keys/ are.  [default: here]",
)
_overlap = click.option(
    "--overlap",
    "overlap_s",
    type=_Overlap(),
    default="24h",
    show_default=True,
    metavar="LENGTH",
    help="How long the old keys count beside the new one; 0s shuts them out with the reload.",
)
_tiers = click.option(
    "--tier", "tiers", type=click.Choice(sorted(map(str, TIERS))), multiple=True,
    help="A tier that it may use; all of them if none is given.",
)  # fmt: skip
_models = click.option(
    "--model", "models", metavar="NAME", multiple=True,
    help="A model that it may use; all of them if none is given.",
)  # fmt: skip


@command.command("init")
@_dir
def init(folder: Path) -> None:
    """Make a register with a key for each of the fleet's identities, and no tenant yet."""
    from fleet.cli.tenant_files import opened

    with opened(folder) as place:
        if place.register_file.exists():
            raise UsageError(
                f"{place.register_file} exists: `fleet tenant add` and `rotate` change it"
            )
        pairs = {role: new_key() for role in ROLES}
        identities: dict[Role, tuple[Key, ...]] = {
            role: (Key(nkey=pair.public),) for role, pair in pairs.items()
        }
        seeds = {MARK + role: pair.seed for role, pair in pairs.items()}
        place.save(Register(identities=identities), seeds)
        for role in ROLES:
            click.echo(place.env_file(MARK + role))
    click.echo(f"include {place.accounts_file} in the server's configuration", err=True)


@command.command("add")
@click.argument("name")
@_tiers
@_models
@click.option(
    "--connections", type=click.IntRange(1, 100_000), default=64, show_default=True, metavar="N",
    help="How many it may have open at a time.",
)  # fmt: skip
@_in_folder
def add(
    *,
    name: str,
    tiers: tuple[str, ...],
    models: tuple[str, ...],
    connections: int,
    folder: Path,
    pid_file: Path | None,
) -> None:
    """Add a tenant and make its key. Prints the file of variables with which it connects."""
    pair = new_key()
    tenant = Tenant(
        keys=(Key(nkey=pair.public),),
        tiers=tuple(Tier(tier) for tier in tiers),
        models=models,
        connections=connections,
    )
    _change(folder, pid_file, lambda now: with_tenant(now, name, tenant), {name: pair.seed})


@command.command("rotate")
@click.argument("name")
@_overlap
@_in_folder
def rotate(*, name: str, overlap_s: float, folder: Path, pid_file: Path | None) -> None:
    """Give a tenant, or an identity such as @spot, a new key beside the old ones.

    The old ones count until --overlap is over and the accounts are written again: `fleet tenant
    apply` does that. Prints the file of variables with which it connects.
    """
    pair = new_key()
    until = (datetime.now(UTC) + timedelta(seconds=overlap_s)).replace(microsecond=0)
    _change(
        folder,
        pid_file,
        lambda now: with_new_key(now, name, pair.public, old_until=until),
        {name: pair.seed},
    )


@command.command("remove")
@click.argument("name")
@_in_folder
def remove(*, name: str, folder: Path, pid_file: Path | None) -> None:
    """Remove a tenant: at the next reload its connections are closed and its keys are refused.

    Jobs that it has queued still run, and its results stay as long as all results do.
    """
    from fleet.cli.tenant_files import opened

    if role_of(name) is not None:
        raise UsageError(f"{name} is an identity of the fleet: `fleet tenant rotate {name}`")
    with opened(folder) as place:
        place.save(without_tenant(place.load(), name), {})
        place.remove_seed(name)
    _reload(pid_file)


@command.command("apply")
@_in_folder
def apply(folder: Path, pid_file: Path | None) -> None:
    """Write the accounts anew from the register; keys that have run out are left out."""
    _change(folder, pid_file, lambda register: register, {})


@command.command("check")
@_dir
@click.pass_context
def check(context: click.Context, folder: Path) -> None:
    """Say whether a change is half-done: exit code 1 and what it is."""
    from fleet.cli.tenant_files import opened

    with opened(folder) as place:
        found = place.state(place.load())
    for line in found:
        click.echo(line)
    if found:
        click.echo("`fleet tenant apply` writes the accounts anew", err=True)
    context.exit(FAILED if found else 0)


@command.command("ls")
@_dir
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


@command.command("context")
@click.argument("name")
@click.option("--url", required=True, metavar="URL", help="The servers, comma-separated.")
@click.option("--ca", metavar="FILE", help="Where the authority's certificate will lie.")
@click.option(
    "--nkey", metavar="FILE", help="Where the seed will lie; without it, where it lies here."
)
@_dir
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


def _change(
    folder: Path,
    pid_file: Path | None,
    change: Callable[[Register], Register],
    seeds: dict[str, bytes],
) -> None:
    from fleet.cli.tenant_files import opened

    with opened(folder) as place:
        place.save(change(place.load()), seeds)
        for name in seeds:
            click.echo(place.env_file(name))
    _reload(pid_file)


def _reload(pid_file: Path | None) -> None:
    from fleet.cli.tenant_files import reload

    if pid_file is None:
        click.echo("reload every server for it to count: nats-server --signal reload", err=True)
    else:
        click.echo(f"server {reload(pid_file)} reads its accounts again", err=True)


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
