"""The switches that a running consumer looks at."""

import asyncio

import pytest

from consumers import flags
from consumers.flags import FALLBACK, Fallback
from fleet.broker.connection import Connection
from fleet.broker.kv import Bucket
from fleet.subjects import POLICY
from tests.asking import eventually


async def test_a_switch_that_cannot_be_read_changes_nothing(
    provisioned: Connection, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flags, "POLL_S", 0.02)
    switch, key = Bucket(provisioned, POLICY, bool), f"{FALLBACK}.{unique}"
    fallback = Fallback(provisioned, unique)

    async def on() -> bool:
        return fallback.on

    async def off() -> bool:
        return not fallback.on

    async with asyncio.TaskGroup() as group:
        following = group.create_task(fallback.follow())
        await switch.put(key, True)
        await eventually(on, "the switch to be on")
        await provisioned.append(f"$KV.{POLICY}.{key}", b"no switch {")
        await asyncio.sleep(0.2)
        assert fallback.on
        await switch.put(key, False)
        await eventually(off, "the switch to be off")
        following.cancel()
