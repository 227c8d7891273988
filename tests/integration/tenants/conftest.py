"""A broker with accounts, and everybody connected to it."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from fleet.broker.beside import Beside
from fleet.broker.connection import Connection
from fleet.broker.provision import provision
from fleet.broker.tenant_reads import serve_reads
from tests.integration.tenants.registers import tenant
from tests.tenants import EVERYBODY, connected_as, server_with_accounts


@pytest.fixture(scope="module")
def accounts_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with everybody's accounts."""
    with server_with_accounts(tmp_path_factory.mktemp("accounts")) as server:
        yield server.url


@pytest.fixture
async def everybody(accounts_url: str, tmp_path: Path) -> AsyncIterator[Mapping[str, Connection]]:
    """A connection each; the fleet is set up, and serves tenants' reads."""
    async with AsyncExitStack() as stack:
        connections = {
            name: await stack.enter_async_context(connected_as(name, accounts_url, tmp_path))
            for name in EVERYBODY
        }
        await provision(connections["@operator"], ["m"])
        await stack.enter_async_context(Beside(serve_reads(connections["@sweep"])))
        # Once it has been heard by the server.
        await connections["@sweep"].api("INFO")
        yield connections


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "register"
    assert tenant(place, "init").exit_code == 0
    assert tenant(place, "add", "acme").exit_code == 0
    return place
