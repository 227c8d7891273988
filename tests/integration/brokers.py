"""Connections for the tests."""

from contextlib import AbstractAsyncContextManager

from fleet.broker.connection import Connection, connect
from fleet.broker.context import find_target


def connected(url: str) -> AbstractAsyncContextManager[Connection]:
    """Connect to a server as the product does."""
    return connect(find_target(url, {}), name="test")
