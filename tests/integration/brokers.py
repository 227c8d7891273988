"""Connections for the tests."""

from contextlib import AbstractAsyncContextManager

from fleet.broker.connection import Connection, connect
from fleet.broker.context import find_target


def connected(url: str) -> AbstractAsyncContextManager[Connection]:
    """Connect to a server as the product does."""
    return connect(find_target(url, {}), name="test")


async def reconnect(connection: Connection) -> None:
    """Let go of the server and come back, as after three pings without an answer."""
    await connection._client.force_reconnect()  # noqa: SLF001 - ours has no word for what befalls it
