"""What every blob store promises, whatever is behind it."""

import asyncio
import hashlib
import os
import time

import msgspec
import pytest

from fleet.blob import blob_key, parse_place
from fleet.blobs.store import BlobStore
from fleet.errors import BlobChanged, BlobCorrupt, BlobMissing, BlobTooLarge

LIMIT = 8 * 1024 * 1024
SIZES = [0, 1, 262_143, 262_144, 262_145, 3_000_000]


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def key(unique: str) -> str:
    return blob_key(unique, "a.jsonl")


@pytest.mark.parametrize("size", SIZES)
async def test_what_was_put_is_got_back(store: BlobStore, key: str, size: int) -> None:
    data = os.urandom(size)
    await store.put(key, data)
    assert await store.get(key, limit_bytes=LIMIT, sha256=sha(data)) == data


async def test_a_blob_that_was_never_put_is_missing(store: BlobStore, key: str) -> None:
    assert await store.head(key) is None
    with pytest.raises(BlobMissing, match=key):
        await store.get(key, limit_bytes=LIMIT)
    await store.delete(key)


async def test_a_blob_over_the_limit_is_refused_and_one_at_it_is_not(
    store: BlobStore, key: str
) -> None:
    await store.put(key, b"x" * 100)
    assert len(await store.get(key, limit_bytes=100)) == 100
    with pytest.raises(BlobTooLarge, match=r"100 bytes.*99"):
        await store.get(key, limit_bytes=99)


async def test_bytes_other_than_those_that_were_named_are_refused(
    store: BlobStore, key: str
) -> None:
    await store.put(key, b"this")
    with pytest.raises(BlobCorrupt, match=key):
        await store.get(key, limit_bytes=LIMIT, sha256=sha(b"that"))


async def test_the_head_tells_size_age_and_version(store: BlobStore, key: str) -> None:
    etag = await store.put(key, b"12345")
    stat = await store.head(key)
    assert stat is not None
    assert (stat.etag, stat.size_bytes) == (etag, 5)
    assert abs(time.time() - stat.written_at) < 30


async def test_a_second_blob_of_a_name_is_refused(store: BlobStore, key: str) -> None:
    await store.put(key, b"first")
    with pytest.raises(BlobChanged, match=key):
        await store.put(key, b"second")
    assert await store.get(key, limit_bytes=LIMIT) == b"first"


async def test_the_same_bytes_may_be_put_again(store: BlobStore, key: str) -> None:
    etag = await store.put(key, b"same")
    assert await store.put(key, b"same") == etag


async def test_a_blob_that_is_written_again_is_young_again(store: BlobStore, key: str) -> None:
    etag = await store.put(key, b"same")
    before = await store.head(key)
    await asyncio.sleep(1.1)  # the resolution of S3's clock
    await store.put(key, b"same", etag=etag)
    after = await store.head(key)
    assert before is not None
    assert after is not None
    assert after.written_at > before.written_at
    assert await store.get(key, limit_bytes=LIMIT) == b"same"


async def test_a_version_is_replaced_by_who_knows_it(store: BlobStore, key: str) -> None:
    first = await store.put(key, b"first")
    second = await store.put(key, b"second", etag=first)
    assert second != first
    assert await store.get(key, limit_bytes=LIMIT) == b"second"
    with pytest.raises(BlobChanged):
        await store.put(key, b"third", etag=first)
    assert await store.get(key, limit_bytes=LIMIT) == b"second"


async def test_a_blob_that_is_gone_is_replaced_by_nobody(store: BlobStore, key: str) -> None:
    etag = await store.put(key, b"first")
    await store.delete(key)
    with pytest.raises(BlobChanged):
        await store.put(key, b"second", etag=etag)


async def test_what_was_deleted_is_missing_and_may_be_put_again(store: BlobStore, key: str) -> None:
    await store.put(key, b"first")
    await store.delete(key)
    assert await store.head(key) is None
    with pytest.raises(BlobMissing):
        await store.get(key, limit_bytes=LIMIT)
    await store.put(key, b"second")
    assert await store.get(key, limit_bytes=LIMIT) == b"second"


async def test_of_many_writers_of_one_name_one_wins(store: BlobStore, key: str) -> None:
    async def write(number: int) -> bytes | None:
        data = b"%d" % number * 1000
        try:
            await store.put(key, data)
        except BlobChanged:
            return None
        return data

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(write(number)) for number in range(8)]
    won = [data for task in tasks if (data := task.result()) is not None]
    assert won == [await store.get(key, limit_bytes=LIMIT)]


async def test_a_reader_sees_the_old_blob_or_the_new_one(store: BlobStore, key: str) -> None:
    old, new = b"o" * 600_000, b"n" * 700_000
    etag = await store.put(key, old)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(store.put(key, new, etag=etag))
        while not task.done():
            assert await store.get(key, limit_bytes=LIMIT) in {old, new}
    assert await store.get(key, limit_bytes=LIMIT) == new


async def test_a_uri_leads_back_to_its_blob(store: BlobStore, key: str) -> None:
    place = parse_place(store.uri(key))
    assert place.key == key
    assert place.uri == store.uri(key)
    assert store.holds(place)


async def test_what_lies_beside_our_part_is_not_ours(store: BlobStore, key: str) -> None:
    own = parse_place(store.uri(key))
    for changed in ({"bucket": "other"}, {"prefix": "a"}, {"prefix": "a/b/c"}):
        assert not store.holds(msgspec.structs.replace(own, **changed))
    other = "s3" if own.scheme == "objects" else "objects"
    assert not store.holds(msgspec.structs.replace(own, scheme=other))
