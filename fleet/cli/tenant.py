"""`fleet tenant`: who may use the broker, declared in one file and turned into its accounts."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from fleet.cli.tenant_view import check, context, folder_option, ls
from fleet.cli.times import Length
from fleet.errors import UsageError
from fleet.job import TIERS, Tier
from fleet.tenancy.keys import new_key
from fleet.tenancy.register import (
    MARK,
    ROLES,
    Key,
    Register,
    Role,
    Tenant,
    role_of,
    with_new_key,
    with_tenant,
    without_tenant,
)


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
        folder_option,
    ):  # fmt: skip
        inner = option(inner)
    return inner


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


@command.command("init", short_help="Make a register, with a key for each identity.")
@folder_option
def init(folder: Path) -> None:
    """Make a register with a key for each of the fleet's identities, and no tenant yet."""
    from fleet.cli.tenant_files import opened

    with opened(folder, new=True) as place:
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


@command.command("rotate", short_help="Give a tenant or an identity a new key.")
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


@command.command("remove", short_help="Remove a tenant and its keys.")
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


@command.command("apply", short_help="Write the accounts anew from the register.")
@_in_folder
def apply(folder: Path, pid_file: Path | None) -> None:
    """Write the accounts anew from the register; keys that have run out are left out."""
    _change(folder, pid_file, lambda register: register, {})


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


for one in (check, context, ls):
    command.add_command(one)
