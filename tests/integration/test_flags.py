"""The switches that a running consumer looks at."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from consumers import flags
from consumers.flags import FALLBACK, BatchState, Cancellations, Fallback
from fleet.broker import news
from fleet.broker.connection import Connection
from fleet.broker.kv import Bucket
from fleet.cancel import Mark
from fleet.errors import LeaseLost
from fleet.job import Job
from fleet.subjects import BATCHES, CANCELS, POLICY, batch_key, cancel_key
from tests.asking import chat, eventually
from tests.fakes import job_of


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


MARK = Mark(stream="JOBS_BATCH", sequence=1, at=0.0)


def job(unique: str, name: str, batch: str | None = None) -> Job:
    return msgspec.structs.replace(job_of(chat("x")), id=name, tenant=unique, batch=batch)


@pytest.fixture
async def cancelled(provisioned: Connection) -> AsyncIterator[Cancellations]:
    cancellations = Cancellations(provisioned)
    async with asyncio.TaskGroup() as group:
        following = group.create_task(cancellations.follow())
        yield cancellations
        following.cancel()


async def test_what_was_cancelled_before_is_known_before_the_first_answer(
    provisioned: Connection, unique: str
) -> None:
    await Bucket(provisioned, CANCELS, Mark).put(cancel_key(unique, "old"), MARK)
    cancellations = Cancellations(provisioned)
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(cancellations(job(unique, "old")))
        following = group.create_task(cancellations.follow())
        assert await asked
        assert not await cancellations(job(unique, "other"))
        following.cancel()


@pytest.fixture
def rare_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known in time was heard as it passed."""
    monkeypatch.setattr(news, "POLL_S", 600.0)


async def test_a_cancellation_wakes_who_sleeps_once_it_is_made(
    rare_looks: None, provisioned: Connection, cancelled: Cancellations, unique: str
) -> None:
    running, queued = job(unique, "j"), job(unique, "k", "b")
    assert not await cancelled(running)
    for work, bucket, key, value in (
        (running, CANCELS, cancel_key(unique, "j"), MARK),
        (queued, BATCHES, batch_key(unique, "b"), BatchState("cancelling")),
    ):
        woken = asyncio.Event()
        with cancelled.wakes(woken):
            await Bucket(provisioned, bucket, type(value)).put(key, value)
            async with asyncio.timeout(30):
                await woken.wait()
        assert await cancelled(work)


async def test_a_cancellation_that_the_broker_refused_is_forgotten_again(
    provisioned: Connection, cancelled: Cancellations, unique: str
) -> None:
    batches, key = Bucket(provisioned, BATCHES, BatchState), batch_key(unique, "b")
    await batches.put(key, BatchState("submitting"))
    await cancelled(job(unique, "j", "b"))
    with pytest.raises(LeaseLost):
        await batches.put(key, BatchState("cancelling"), revision=1)

    async def believed() -> bool:
        return not await cancelled(job(unique, "j", "b"))

    await eventually(believed, "the stored state", bound_s=30)
