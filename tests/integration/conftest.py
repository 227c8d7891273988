"""A connection to the session's server, with all streams and buckets in place."""

from collections.abc import AsyncIterator

import pytest

from fleet.batches import Batches
from fleet.broker.connection import Connection
from fleet.broker.provision import provision
from tests.integration.brokers import connected


@pytest.fixture
async def provisioned(nats_url: str) -> AsyncIterator[Connection]:
    async with connected(nats_url) as connection:
        await provision(connection, [])
        yield connection


@pytest.fixture
def batches(provisioned: Connection, unique: str) -> Batches:
    """The batches of a tenant of this test alone."""
    return Batches(provisioned, tenant=unique)
