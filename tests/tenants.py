"""A broker with accounts: everybody's keys are made of a number, so no file has to be read."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import nkeys

from fleet.broker.connection import Connection, connect
from fleet.broker.context import find_target
from fleet.job import Tier
from fleet.tenancy.grants import inbox_prefix
from fleet.tenancy.register import MARK, ROLES, Key, Register, Tenant, role_of
from fleet.tenancy.render import render
from tests.server import NatsServer, nats_server

# `narrow` may use one tier and one model.
TENANTS = ("acme", "beta", "narrow")
EVERYBODY = (*(MARK + role for role in ROLES), *TENANTS)


def seed(name: str) -> bytes:
    """Make the secret of an identity or a tenant."""
    return bytes(nkeys.encode_seed(name.encode().ljust(32, b".")[:32], nkeys.PREFIX_BYTE_USER))


def key(name: str) -> Key:
    return Key(nkey=nkeys.from_seed(bytearray(seed(name))).public_key.decode())


def register() -> Register:
    """Everybody, with a key each."""
    return Register(
        identities={role: (key(MARK + role),) for role in ROLES},
        tenants={
            "acme": Tenant(keys=(key("acme"),)),
            "beta": Tenant(keys=(key("beta"),)),
            "narrow": Tenant(keys=(key("narrow"),), tiers=(Tier.BATCH,), models=("m",)),
        },
    )


@contextmanager
def server_with_accounts(
    folder: Path, wanted: Register | None = None, *, config: str = "", port: int | None = None
) -> Iterator[NatsServer]:
    """Run a server with the accounts of a register."""
    accounts = render(register() if wanted is None else wanted)
    with nats_server(folder, config=f"{accounts}\n{config}", port=port) as server:
        yield server


@asynccontextmanager
async def connected_as(
    name: str, url: str, folder: Path, *, env: dict[str, str] | None = None
) -> AsyncIterator[Connection]:
    """Connect with somebody's key, as the files of `fleet tenant` have it done."""
    file = folder / f"{name}.seed"
    file.write_bytes(seed(name))
    variables = {"NATS_NKEY": str(file), **(env or {})}
    if (role := role_of(name)) is not None:
        variables["NATS_INBOX_PREFIX"] = inbox_prefix(role)
    async with connect(find_target(url, variables), name=name) as connection:
        yield connection


async def stored(connection: Connection, stream: str) -> int:
    """Count the messages of a stream."""
    state: dict[str, Any] = (await connection.api(f"STREAM.INFO.{stream}"))["state"]
    return int(state["messages"])


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()
