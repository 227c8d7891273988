"""A backup is whole or none, and what is put back is what was there."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fleet.backup import ABOUT, DATA, LIST, ORDER, Kept, back_up, put_back, read_listing
from fleet.broker.connection import Connection
from fleet.broker.provision import drift, provision
from fleet.broker.queue import Delivery, Puller
from fleet.broker.stored import Stored, messages
from fleet.errors import BrokerUnreachable, UsageError
from tests.integration.brokers import connected
from tests.server import nats_server

BODY = b"x" * 100_000
BOUND_S = 60.0


@asynccontextmanager
async def broker(folder: Path) -> AsyncIterator[Connection]:
    with nats_server(folder) as server:
        async with connected(server.url) as connection:
            yield connection


@pytest.fixture
async def busy(tmp_path: Path) -> AsyncIterator[Connection]:
    """A broker with jobs, one of them in a consumer's hands, results, claims and a payload."""
    async with broker(tmp_path / "busy") as connection:
        await provision(connection, ["m"])
        for number in range(40):
            await connection.append(
                "jobs.batch.m.acme", BODY, headers={"Fleet-Job-Id": f"j{number}"}
            )
            await connection.append(f"results.acme._.r{number}", b"line\n" * number)
        await connection.append("$KV.claims.acme.j1", b"{}")
        await connection.append("$O.payloads.C.part", b"p" * 500_000)
        yield connection


def nothing(_: Kept) -> None:
    """Be told of a stream."""


async def everything(connection: Connection) -> dict[str, list[Stored]]:
    return {stream: [one async for one in messages(connection, stream, ">")] for stream in ORDER}


async def test_what_is_put_back_is_what_was_there(busy: Connection, tmp_path: Path) -> None:
    said: list[str] = []
    listing = await back_up(busy, tmp_path / "copy", lambda kept: said.append(kept.stream))
    assert said == list(ORDER)
    assert read_listing(tmp_path / "copy") == listing
    async with broker(tmp_path / "other") as other:
        await put_back(other, tmp_path / "copy", nothing)
        assert await everything(other) == await everything(busy)
        made = await provision(other, ["m"])
        assert made == ["TOKENS", "KV_nodes"]
        assert await drift(other, ["m"]) == []


async def test_a_job_in_a_consumers_hands_comes_again_and_a_settled_one_does_not(
    busy: Connection, tmp_path: Path
) -> None:
    async with Puller(busy, stream="JOBS_BATCH", durable="batch_m") as puller:
        await puller.ask(2)
        first, second = await taken(puller), await taken(puller)
        await first.ack()
        await back_up(busy, tmp_path / "copy", nothing)
    async with broker(tmp_path / "other") as other:
        await put_back(other, tmp_path / "copy", nothing)
        state = await other.api("CONSUMER.INFO.JOBS_BATCH.batch_m")
        assert state["num_ack_pending"] >= 1
        stored = {one.sequence async for one in messages(other, "JOBS_BATCH", ">")}
        assert first.sequence not in stored
        assert second.sequence in stored


async def taken(puller: Puller) -> Delivery:
    delivery = await puller.next()
    assert isinstance(delivery, Delivery)
    return delivery


async def test_a_backup_that_breaks_off_is_none(busy: Connection, tmp_path: Path) -> None:
    def stop(kept: Kept) -> None:
        if kept.stream == "KV_claims":
            raise BrokerUnreachable("gone")

    with pytest.raises(BrokerUnreachable):
        await back_up(busy, tmp_path / "copy", stop)
    assert not (tmp_path / "copy").exists()
    with pytest.raises(UsageError, match="no whole backup"):
        read_listing(tmp_path / "copy.unfinished")
    await back_up(busy, tmp_path / "copy", nothing)
    with pytest.raises(UsageError, match="name a new folder"):
        await back_up(busy, tmp_path / "copy", nothing)


DAMAGES: list[tuple[str, Callable[[Path], object]]] = [
    ("a flipped byte", lambda at: flip(at / "RESULTS" / DATA)),
    ("a missing stream", lambda at: (at / "RESULTS" / DATA).unlink()),
    ("a cut description", lambda at: (at / "RESULTS" / ABOUT).write_bytes(b'{"config": {')),
    ("another's description", lambda at: shutil.copy(at / "DEAD" / ABOUT, at / "RESULTS" / ABOUT)),
    ("a cut list", lambda at: (at / LIST).write_bytes((at / LIST).read_bytes()[:99])),
    ("a foreign stream", lambda at: rename(at / LIST)),
]


@pytest.mark.parametrize(("what", "damage"), DAMAGES, ids=[name for name, _ in DAMAGES])
async def test_a_damaged_backup_is_refused_before_anything_is_sent(
    busy: Connection, tmp_path: Path, what: str, damage: Callable[[Path], object]
) -> None:
    await back_up(busy, tmp_path / "copy", nothing)
    damage(tmp_path / "copy")
    async with broker(tmp_path / "other") as other:
        with pytest.raises(UsageError):
            await put_back(other, tmp_path / "copy", nothing)
        assert (await other.api("STREAM.NAMES"))["total"] == 0


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def rename(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b'"RESULTS"', b'"../../RESULTS"'))


async def test_nothing_is_put_over_what_is_there(busy: Connection, tmp_path: Path) -> None:
    await back_up(busy, tmp_path / "copy", nothing)
    before = await everything(busy)
    with pytest.raises(UsageError, match=r"JOBS_REALTIME.*nothing was changed"):
        await put_back(busy, tmp_path / "copy", nothing)
    await busy.api("STREAM.DELETE.DEAD")
    await put_back(busy, tmp_path / "copy", nothing, only_missing=True)
    assert await everything(busy) == before


async def test_jobs_go_in_while_a_backup_is_made(busy: Connection, tmp_path: Path) -> None:
    """What was confirmed before it began is in it."""
    told: list[Kept] = []
    began = asyncio.Event()

    async def submit() -> None:
        while True:
            await busy.append("jobs.batch.m.acme", b"late")
            began.set()

    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as group:
        submitting = group.create_task(submit())
        await began.wait()
        await back_up(busy, tmp_path / "copy", told.append)
        submitting.cancel()
    jobs = next(kept for kept in told if kept.stream == "JOBS_BATCH")
    async with broker(tmp_path / "other") as other:
        await put_back(other, tmp_path / "copy", nothing)
        found = [one.payload async for one in messages(other, "JOBS_BATCH", ">")]
    assert len(found) == jobs.messages
    assert found.count(BODY) == 40
