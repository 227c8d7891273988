"""S3 in trouble: slow, full, forbidden, cut off, and silent about what it did."""

import hashlib
from collections.abc import AsyncIterator

import pytest

from fleet.blobs.s3 import S3, TRIES
from fleet.errors import (
    BlobChanged,
    BlobMissing,
    StoreRefused,
    StoreUnavailable,
)
from tests.contract.conftest import at
from tests.contract.s3_line import Fate, Line, line_to
from tests.seaweed import Seaweed

pytestmark = pytest.mark.usefixtures("credentials")
LIMIT = 1024 * 1024
DATA = b"prompt\n" * 10_000


@pytest.fixture
async def line(s3_server: Seaweed) -> AsyncIterator[Line]:
    async with line_to(s3_server.endpoint) as line:
        yield line


@pytest.fixture
def store(request: pytest.FixtureRequest, line: Line) -> S3:
    # A store may be slow; only where somebody is silent on purpose we do not wait for long.
    called = getattr(request.node, "callspec", None)
    is_silent = called is not None and called.params.get("fate") == "silence"
    return S3(at(line.endpoint), silence_s=1.0 if is_silent else 30.0, backoff_s=0.01)


@pytest.fixture
def key(unique: str) -> str:
    return f"{unique}/a.jsonl"


@pytest.mark.parametrize("fate", [503, 500, "unsent", "silence", "cut"])
async def test_a_fault_that_passes_is_outlived_by_a_read(
    store: S3, line: Line, key: str, fate: Fate
) -> None:
    await store.put(key, DATA)
    line.fates = [fate, fate]
    assert await store.get(key, limit_bytes=LIMIT) == DATA


@pytest.mark.parametrize("fate", [503, 500, "unsent", "silence"])
async def test_a_fault_that_passes_is_outlived_by_a_write(
    store: S3, line: Line, key: str, fate: Fate
) -> None:
    line.fates = [fate, fate]
    await store.put(key, DATA)
    assert await store.get(key, limit_bytes=LIMIT) == DATA


@pytest.mark.parametrize("fate", [503, "unsent", "silence", "cut"])
async def test_a_fault_that_stays_is_told_after_a_few_tries(
    store: S3, line: Line, key: str, fate: Fate
) -> None:
    await store.put(key, DATA)
    line.requests.clear()
    line.usual = fate
    with pytest.raises(StoreUnavailable, match=rf"s3://.*{key}.*try again"):
        await store.get(key, limit_bytes=LIMIT)
    assert line.requests == ["GET"] * TRIES


async def test_a_store_that_is_down_is_told_apart_from_one_that_refuses(key: str) -> None:
    store = S3(at("http://127.0.0.1:1"), backoff_s=0.01)
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1"):
        await store.get(key, limit_bytes=LIMIT)


async def test_what_is_forbidden_is_not_tried_again(store: S3, line: Line, key: str) -> None:
    line.usual = 403
    with pytest.raises(StoreRefused, match=rf"{key}.*AccessDenied.*credentials"):
        await store.get(key, limit_bytes=LIMIT)
    assert line.requests == ["GET"]


async def test_a_write_whose_answer_was_lost_is_known_as_ones_own(
    store: S3, line: Line, key: str
) -> None:
    line.fates = ["unheard"]
    etag = await store.put(key, DATA)
    assert line.requests == ["PUT", "PUT", "GET"]
    stat = await store.head(key)
    assert stat is not None
    assert stat.etag == etag


async def test_a_replacement_whose_answer_was_lost_is_known_as_ones_own(
    store: S3, line: Line, key: str
) -> None:
    first = await store.put(key, DATA)
    line.fates = ["unheard"]
    second = await store.put(key, DATA * 2, etag=first)
    assert second != first
    assert await store.get(key, limit_bytes=LIMIT) == DATA * 2


async def test_a_retry_that_finds_anothers_write_is_refused(
    store: S3, line: Line, key: str, s3_server: Seaweed
) -> None:
    line.fates = ["unsent"]
    await S3(at(s3_server.endpoint)).put(key, b"another's")
    with pytest.raises(BlobChanged, match=key):
        await store.put(key, DATA)
    assert await store.get(key, limit_bytes=LIMIT) == b"another's"


async def test_a_wrong_secret_is_refused_by_a_real_store(
    s3_server: Seaweed, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreRefused, match="SignatureDoesNotMatch"):
        await S3(at(s3_server.endpoint)).put(key, DATA)


async def test_no_credentials_at_all_say_how_they_are_looked_for(
    s3_server: Seaweed, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(StoreRefused, match="boto3"):
        await S3(at(s3_server.endpoint)).put(key, DATA)


async def test_a_bucket_that_is_not_there_is_named(s3_server: Seaweed, key: str) -> None:
    store = S3(at(s3_server.endpoint, bucket="no-such-bucket"))
    with pytest.raises((StoreRefused, BlobMissing), match="no-such-bucket"):
        await store.get(key, limit_bytes=LIMIT)


async def test_a_read_is_not_torn_by_a_write(store: S3, line: Line, key: str) -> None:
    etag = await store.put(key, DATA)
    line.fates = ["cut"]
    found = await store.get(key, limit_bytes=LIMIT)
    assert hashlib.sha256(found).digest() == hashlib.sha256(DATA).digest()
    assert await store.put(key, DATA, etag=etag) == etag
