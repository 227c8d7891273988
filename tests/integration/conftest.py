"""A connection to the session's server, with all streams and buckets in place."""

from collections.abc import AsyncIterator, Iterator

import pytest

from fleet.batches import Batches
from fleet.broker.connection import Connection
from fleet.broker.provision import provision
from tests.integration.brokers import connected
from tests.server import nats_server


@pytest.fixture
async def provisioned(nats_url: str) -> AsyncIterator[Connection]:
    async with connected(nats_url) as connection:
        await provision(connection, [])
        yield connection


@pytest.fixture(scope="module")
def own_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of one test file alone, for tests that look at everybody's jobs."""
    with nats_server(tmp_path_factory.mktemp("own-nats")) as server:
        yield server.url


@pytest.fixture
def batches(provisioned: Connection, unique: str) -> Batches:
    """The batches of a tenant of this test alone."""
    return Batches(provisioned, tenant=unique)
