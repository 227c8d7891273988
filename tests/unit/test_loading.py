"""An engine that never comes up is given up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from consumers.engine import Engine
from consumers.loading import loaded
from consumers.scripted_engine import ScriptedEngine
from fleet.errors import EngineDead


async def test_an_engine_that_hangs_as_it_loads_is_dead_and_taken_down() -> None:
    taken_down = asyncio.Event()

    @asynccontextmanager
    async def hangs() -> AsyncIterator[Engine]:
        try:
            await asyncio.Event().wait()
            yield ScriptedEngine(model="m")
        finally:
            taken_down.set()

    async with AsyncExitStack() as stack:
        with pytest.raises(EngineDead, match="FLEET_LOAD_S"):
            await loaded(stack, hangs, 0.02)
        assert taken_down.is_set()


async def test_an_engine_that_is_up_in_time_ends_with_what_it_was_loaded_for() -> None:
    up = False

    @asynccontextmanager
    async def starts() -> AsyncIterator[Engine]:
        nonlocal up
        up = True
        yield ScriptedEngine(model="m")
        up = False

    async with AsyncExitStack() as stack:
        assert (await loaded(stack, starts, 5.0)).facts.model == "m"
        assert up
    assert not up
