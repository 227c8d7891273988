"""From a register to the server's accounts: JSON, which the server reads and no name breaks."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import msgspec

from fleet.tenancy.grants import (
    ACCOUNT_OF,
    CORE,
    GRANTS,
    SYSTEM,
    WATCH,
    WATCHED,
    Export,
    Grant,
    inbox_prefix,
    tenant_exports,
)
from fleet.tenancy.register import ROLES, Key, Register, Tenant, write_register

Block: TypeAlias = dict[str, object]

_HEAD: Final = """\
# Written by `fleet tenant`: change the register and write this anew, never this by hand.
# register: {digest}
"""
_DIGEST: Final = "# register: "
_MARK_DIGITS: Final = 16


def account_of(tenant: str) -> str:
    """Name a tenant's account; no account of the fleet has such a name."""
    return f"tenant-{tenant}"


def render(register: Register) -> str:
    """Write the accounts, all keys of the register included: leave out before what has expired."""
    exports = [
        *(_exported(one, [WATCH]) for one in WATCHED),
        *(
            _exported(one, [account_of(name)])
            for name, tenant in register.tenants.items()
            for one in _granted(name, tenant)
        ),
    ]
    accounts: dict[str, Block] = {
        SYSTEM: {"users": _users(register, SYSTEM)},
        CORE: {"jetstream": "enabled", "exports": exports, "users": _users(register, CORE)},
        WATCH: {"imports": _imports(WATCHED), "users": _users(register, WATCH)},
        **{
            account_of(name): _tenant_account(name, tenant)
            for name, tenant in sorted(register.tenants.items())
        },
        # Nobody's: a server that names it has this register in force.
        mark_of(register): {},
    }
    head = _HEAD.format(digest=digest_of(register))
    return f'{head}system_account: "{SYSTEM}"\naccounts: {_pretty(accounts)}\n'


def mark_of(register: Register) -> str:
    """Name the account by which a server tells which register it has in force."""
    return f"register-{digest_of(register)[:_MARK_DIGITS]}"


def digest_of(register: Register) -> str:
    """Fingerprint of a register: a configuration that bears it was made from it."""
    return hashlib.sha256(write_register(register)).hexdigest()


def digest_in(configuration: str) -> str | None:
    """Read of which register a configuration was made; None if it does not say."""
    for line in configuration.splitlines():
        if line.startswith(_DIGEST):
            return line.removeprefix(_DIGEST).strip()
    return None


def _tenant_account(name: str, tenant: Tenant) -> Block:
    granted = _granted(name, tenant)
    services = [one for one in granted if one.kind == "service"]
    may = Grant(
        publish=tuple(_pattern(seen) for one in services for seen in one.seen_as),
        subscribe=("_INBOX.>", *(one.subject for one in granted if one.kind == "stream")),
    )
    return {
        "limits": {"max_connections": tenant.connections},
        "imports": _imports(granted),
        "users": [_user(key, may) for key in tenant.keys],
    }


def _granted(name: str, tenant: Tenant) -> tuple[Export, ...]:
    return tenant_exports(name, tiers=tenant.tiers or ("*",), models=tenant.models or ("*",))


def _pattern(subject: str) -> str:
    """Write an import's subject as the pattern that a permission names."""
    return ".".join("*" if part.startswith("{{") else part for part in subject.split("."))


def _exported(export: Export, accounts: Sequence[str]) -> Block:
    block: Block = {export.kind: export.subject, "accounts": list(accounts)}
    if export.several:
        block["response_type"] = "stream"
    return block


def _imports(exports: Iterable[Export]) -> list[Block]:
    return [
        {export.kind: {"account": CORE, "subject": export.subject}}
        | ({} if name == export.subject else {"to": name})
        for export in exports
        for name in export.seen_as
    ]


def _users(register: Register, account: str) -> list[Block]:
    return [
        _user(key, GRANTS[role], f"{inbox_prefix(role)}.>")
        for role in ROLES
        if ACCOUNT_OF[role] == account
        for key in register.identities.get(role, ())
    ]


def _user(key: Key, grant: Grant, *heard: str) -> Block:
    may: Block = {
        "publish": {"allow": list(grant.publish)},
        "subscribe": {"allow": [*heard, *grant.subscribe]},
    }
    if grant.answers:
        may["allow_responses"] = {"max": grant.answers, "expires": "1m"}
    return {"nkey": key.nkey, "permissions": may}


def _pretty(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
