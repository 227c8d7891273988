"""A connection to the session's server, with all streams and buckets in place."""

from collections.abc import AsyncIterator

import pytest

from fleet.broker.connection import Connection
from fleet.broker.provision import provision
from tests.integration.brokers import connected


@pytest.fixture
async def provisioned(nats_url: str) -> AsyncIterator[Connection]:
    async with connected(nats_url) as connection:
        await provision(connection, [])
        yield connection
