"""Queues of one test's own model, and what sweeps them."""

from collections.abc import AsyncIterator

import pytest

from fleet.broker.connection import Connection
from fleet.broker.provision import provision
from fleet.sweep import Sweeper
from tests.asking import Asker
from tests.integration.brokers import connected


@pytest.fixture
async def connection(own_url: str, unique: str) -> AsyncIterator[Connection]:
    """Queues of this test's own model, with an ack wait of half a second."""
    async with connected(own_url) as connection:
        await provision(connection, [unique], ack_wait_s=0.5)
        yield connection


@pytest.fixture
def asker(connection: Connection, unique: str) -> Asker:
    return Asker(connection, unique)


@pytest.fixture
def sweeper(connection: Connection) -> Sweeper:
    return Sweeper(connection, realtime_deadline_s=1.0, checkpoint_s=0.2)
