"""The one file that says who there is: identities of the fleet, tenants, and their public keys.

It holds no secret. A key that has run out counts no more once the configuration is written again.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias, get_args

import msgspec

from fleet.errors import JobRejected, NotFound, UsageError
from fleet.job import Tier
from fleet.subjects import plain, shown, token

Role: TypeAlias = Literal[
    "operator", "manager", "sweep", "on-demand", "spot", "dashboard", "metrics", "system"
]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
# Tells an identity of the fleet from a tenant of the same name; no tenant's name begins with it.
MARK: Final = "@"
_PUBLIC: Final = re.compile(r"U[A-Z2-7]{55}")


class Key(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """One public key. until: when it stops to count; None for never."""

    nkey: str
    until: datetime | None = None

    def counts(self, now: datetime) -> bool:
        """Say whether it is to be let in."""
        return self.until is None or now < self.until


class Tenant(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """One tenant. tiers, models: what it may ask for; () for all. connections: at once, at most."""

    keys: tuple[Key, ...]
    tiers: tuple[Tier, ...] = ()
    models: tuple[str, ...] = ()
    connections: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 64


class Register(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it."""

    version: Literal[1] = 1
    identities: dict[Role, tuple[Key, ...]]
    tenants: dict[str, Tenant] = {}


def read_register(data: bytes, *, origin: str) -> Register:
    """Decode a register. Raises UsageError naming `origin`, the place in it and the remedy."""
    try:
        register = msgspec.json.decode(data, type=Register)
        _check(register)
    except (msgspec.MsgspecError, ValueError, RecursionError, JobRejected) as error:
        raise UsageError(
            f"{origin} is no register of tenants ({plain(str(error))}): mend it, or take the last "
            "good one from your backup; nothing was changed"
        ) from error
    return register


def write_register(register: Register) -> bytes:
    """Encode a register, for people too."""
    tenants = dict(sorted(register.tenants.items()))
    sorted_one = msgspec.structs.replace(register, tenants=tenants)
    return msgspec.json.format(msgspec.json.encode(sorted_one), indent=2) + b"\n"


def with_tenant(register: Register, name: str, tenant: Tenant) -> Register:
    """Add a tenant. Raises UsageError if there is one, JobRejected for what is no name."""
    if token(name, what="tenant") in register.tenants:
        raise UsageError(f"tenant {name} exists: `fleet tenant rotate {name}` gives it a new key")
    for model in tenant.models:
        token(model, what="model")
    return msgspec.structs.replace(register, tenants={**register.tenants, name: tenant})


def without_tenant(register: Register, name: str) -> Register:
    """Remove a tenant. Raises NotFound."""
    _tenant(register, name)
    left = {other: tenant for other, tenant in register.tenants.items() if other != name}
    return msgspec.structs.replace(register, tenants=left)


def with_new_key(register: Register, name: str, nkey: str, *, old_until: datetime) -> Register:
    """Give a tenant, or the identity behind `@`, a new key; what it had counts until `old_until`.

    Raises NotFound.
    """
    if (role := role_of(name)) is not None:
        keys = _next(register.identities.get(role, ()), nkey, old_until)
        return msgspec.structs.replace(register, identities={**register.identities, role: keys})
    tenant = _tenant(register, name)
    changed = msgspec.structs.replace(tenant, keys=_next(tenant.keys, nkey, old_until))
    return msgspec.structs.replace(register, tenants={**register.tenants, name: changed})


def without_expired(register: Register, now: datetime) -> Register:
    """Leave out the keys that have run out."""
    return msgspec.structs.replace(
        register,
        identities={role: _living(keys, now) for role, keys in register.identities.items()},
        tenants={
            name: msgspec.structs.replace(tenant, keys=_living(tenant.keys, now))
            for name, tenant in register.tenants.items()
        },
    )


def known_in(register: Register, name: str) -> None:
    """Raise NotFound unless a tenant, or an identity behind its `@`, is there."""
    if role_of(name) is None:
        _tenant(register, name)


def role_of(name: str) -> Role | None:
    """Read `@role`; None for what may be a tenant's name. Raises NotFound for no role of ours."""
    if not name.startswith(MARK):
        return None
    for role in ROLES:
        if name == MARK + role:
            return role
    known = ", ".join(MARK + role for role in ROLES)
    raise NotFound(f"there is no identity {shown(name)}: use one of {known}")


def _tenant(register: Register, name: str) -> Tenant:
    if name not in register.tenants:
        raise NotFound(f"there is no tenant {shown(name)}: `fleet tenant ls` names them all")
    return register.tenants[name]


def _next(keys: tuple[Key, ...], nkey: str, old_until: datetime) -> tuple[Key, ...]:
    """Put a key before the others, which last no longer than they would have anyway."""
    ending = (
        key
        if key.until is not None and key.until < old_until
        else msgspec.structs.replace(key, until=old_until)
        for key in keys
    )
    return (Key(nkey=nkey), *ending)


def _living(keys: Iterable[Key], now: datetime) -> tuple[Key, ...]:
    return tuple(key for key in keys if key.counts(now))


def _check(register: Register) -> None:
    owners: dict[str, str] = {}
    for name, tenant in register.tenants.items():
        token(name, what="tenant")
        for model in tenant.models:
            token(model, what="model")
    for owner, keys in _owned(register).items():
        for key in keys:
            if not _PUBLIC.fullmatch(key.nkey):
                raise ValueError(f"{owner} has {shown(key.nkey)}, which is no user's public key")
            if key.until is not None and key.until.tzinfo is None:
                raise ValueError(f"{owner} has a key until {key.until}: name the zone, such as Z")
            if owners.setdefault(key.nkey, owner) != owner:
                raise ValueError(f"{owner} and {owners[key.nkey]} have the same key")


def _owned(register: Register) -> Mapping[str, tuple[Key, ...]]:
    roles = {MARK + role: keys for role, keys in register.identities.items()}
    return roles | {name: tenant.keys for name, tenant in register.tenants.items()}
