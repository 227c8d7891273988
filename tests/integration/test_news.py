"""News of a bucket: nothing is taken for known that was not read, and nothing that has gone."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from fleet.broker.connection import Connection
from fleet.broker.kv import Bucket
from fleet.broker.news import BucketNews
from fleet.broker.stored import Stored, messages
from fleet.errors import BrokerUnreachable
from fleet.subjects import POLICY
from tests.asking import eventually
from tests.integration.brokers import reconnect


class Heard:
    """What became of the keys of one test."""

    def __init__(self, connection: Connection, unique: str) -> None:
        self.values: dict[str, int] = {}
        self._mine = unique
        self.news = BucketNews(connection, POLICY, int, self._take)

    def _take(self, key: str, value: int | None) -> None:
        if value is None:
            self.values.pop(key, None)
        elif key.startswith(self._mine):
            self.values[key] = value

    async def are(self, **values: int) -> None:
        async def same() -> bool:
            return self.values == {f"{self._mine}.{key}": one for key, one in values.items()}

        await eventually(same, f"{values}")


@pytest.fixture
async def heard(provisioned: Connection, unique: str) -> AsyncIterator[Heard]:
    heard = Heard(provisioned, unique)
    async with asyncio.TaskGroup() as group:
        following = group.create_task(heard.news.follow())
        yield heard
        following.cancel()


async def test_a_bucket_that_could_not_be_read_is_not_known(
    provisioned: Connection, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answers = asyncio.Event(), asyncio.Event()

    async def unread(
        connection: Connection, stream: str, subject: str, *, after: int = 0
    ) -> AsyncIterator[Stored]:
        asked.set()
        if not answers.is_set():
            raise BrokerUnreachable("no answer: try again")
        async for stored in messages(connection, stream, subject, after=after):
            yield stored

    monkeypatch.setattr("fleet.broker.news.messages", unread)
    monkeypatch.setattr("fleet.broker.news.POLL_S", 0.02)
    await Bucket(provisioned, POLICY, int).put(f"{unique}.a", 1)
    heard = Heard(provisioned, unique)
    async with asyncio.TaskGroup() as group:
        following = group.create_task(heard.news.follow())
        async with asyncio.timeout(10):
            for _ in range(3):
                asked.clear()
                await asked.wait()
        # Who took it for empty would run what was cancelled, or end machines that have work.
        assert not heard.news.loaded.is_set()
        answers.set()
        async with asyncio.timeout(10):
            await heard.news.loaded.wait()
        assert heard.values == {f"{unique}.a": 1}
        following.cancel()


async def test_a_key_that_went_while_nobody_could_hear_of_it_is_gone(
    heard: Heard, provisioned: Connection, unique: str
) -> None:
    bucket = Bucket(provisioned, POLICY, int)
    await bucket.put(f"{unique}.a", 1)
    await bucket.put(f"{unique}.b", 2)
    await heard.are(a=1, b=2)
    # As when the broker was put back from a copy, or its marker has expired.
    await provisioned.api(f"STREAM.PURGE.KV_{POLICY}", {"filter": f"$KV.{POLICY}.{unique}.a"})
    await reconnect(provisioned)
    await heard.are(b=2)
