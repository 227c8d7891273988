"""The first connect, with a library that forgets what it was told."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from fleet.broker.client import HardenedClient
from fleet.broker.context import Target
from fleet.broker.dial import open_client
from fleet.errors import BrokerUnreachable

TARGET = Target(servers=("nats://127.0.0.1:1",), origin="a test")


class Forgetful:
    """Tries on and on; a cancellation that comes with an answer gets lost in it."""

    refusals = 0

    async def connect(
        self, *servers: object, error_cb: Callable[[Exception], Awaitable[None]], **options: object
    ) -> None:
        for _ in range(50):
            try:
                await asyncio.sleep(0.02)
            except asyncio.CancelledError:
                await error_cb(OSError("connection refused"))


async def nothing() -> None:
    """Be told."""


async def test_a_connect_whose_time_is_over_ends_all_the_same() -> None:
    client = cast("HardenedClient", Forgetful())
    with pytest.raises(BrokerUnreachable, match="connection refused"):
        await open_client(
            client, TARGET, name="test", wait_s=0.1,
            on_down=nothing, on_up=nothing, on_closed=nothing,
        )  # fmt: skip
