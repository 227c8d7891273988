"""Bring the engine up in bounded time."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from consumers.engine import Engine
from fleet.errors import EngineDead

StartEngine = Callable[[], AbstractAsyncContextManager[Engine]]


async def loaded(stack: AsyncExitStack, start_engine: StartEngine, load_s: float) -> Engine:
    """Start an engine that ends with `stack`.

    One that hangs looks, from outside, like one that loads: after `load_s` seconds what the start
    had begun is ended, and this raises EngineDead.
    """
    try:
        async with asyncio.timeout(load_s):
            return await stack.enter_async_context(start_engine())
    except TimeoutError as error:
        raise EngineDead(
            f"the engine was not up after {load_s:g} s: look into its output, or raise "
            "FLEET_LOAD_S if the model takes longer to load"
        ) from error
