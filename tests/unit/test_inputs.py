"""Inputs of jobs: fetched once, bounded, checked, and told apart from a store in trouble."""

import asyncio
import hashlib
import json
from collections.abc import Callable

import pytest

from consumers import inputs as module
from consumers.input_cache import Cache, Lines
from consumers.inputs import Inputs, Unready
from fleet.blob import Place
from fleet.errors import (
    BlobMissing,
    BlobTooLarge,
    BrokerUnreachable,
    JobRejected,
    StoreRefused,
    StoreUnavailable,
)
from fleet.job import BadItem, Item, Job, Tier
from fleet.wire import Envelope, decode_job

KIB = 1024


def line(name: str) -> bytes:
    body = {"prompt": name}
    return json.dumps({"custom_id": name, "url": "/v1/completions", "body": body}).encode()


FILE = b"\n".join(line(f"row-{n}") for n in range(10)) + b"\n"


def job_of(
    data: bytes = FILE, *, first: int = 0, count: int = 1, tenant: str = "acme",
    uri: str = "objects://payloads/acme/a.jsonl",
) -> Job:  # fmt: skip
    sha256 = hashlib.sha256(data).hexdigest()
    source = {"uri": uri, "sha256": sha256, "first": first, "count": count}
    envelope = Envelope(id="j", tenant=tenant, model="m", tier=Tier.BATCH)
    return decode_job(envelope, json.dumps({"input": source}).encode())


class Shelf:
    """A store of one scheme. error: what a read raises. gate: reads wait for it."""

    def __init__(self, scheme: str = "objects", **blobs: bytes) -> None:
        self.scheme = scheme
        self.blobs = {key.replace("__", "/"): data for key, data in blobs.items()}
        self.reads = 0
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def get(self, key: str, *, limit_bytes: int, sha256: str | None = None) -> bytes:
        self.reads += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        if key not in self.blobs:
            raise BlobMissing(f"there is no {key}")
        if len(self.blobs[key]) > limit_bytes:
            raise BlobTooLarge(f"{key} is too large")
        return self.blobs[key]

    def holds(self, place: Place) -> bool:
        return (place.scheme, place.prefix) == (self.scheme, "")


def shelf_of(data: bytes = FILE) -> Shelf:
    shelf = Shelf()
    shelf.blobs["acme/a.jsonl"] = data
    return shelf


def inputs_of(*shelves: Shelf, limit_bytes: int = 64 * KIB) -> Inputs:
    return Inputs(shelves, limit_bytes=limit_bytes)


def names(job: Job) -> list[str | None]:
    return [item.custom_id for item in job.items]


@pytest.mark.parametrize(("first", "count"), [(0, 1), (0, 10), (9, 1), (3, 4)])
async def test_a_job_gets_the_lines_that_it_names(first: int, count: int) -> None:
    job = await inputs_of(shelf_of()).fill(job_of(first=first, count=count))
    assert names(job) == [f"row-{n}" for n in range(first, first + count)]
    assert [item.index for item in job.items] == list(range(count))
    assert all(isinstance(item, Item) for item in job.items)


async def test_a_job_without_an_input_passes_untouched() -> None:
    envelope = Envelope(id="j", tenant="acme", model="m", tier=Tier.BATCH)
    job = decode_job(envelope, line("only"))
    assert await inputs_of().fill(job) is job


@pytest.mark.parametrize(("first", "count"), [(10, 1), (9, 2), (0, 11), (10**9, 1024)])
async def test_lines_behind_the_end_are_refused_with_how_many_there_are(
    first: int, count: int
) -> None:
    with pytest.raises(JobRejected, match="has 10 lines") as caught:
        await inputs_of(shelf_of()).fill(job_of(first=first, count=count))
    assert caught.value.code == "input_too_short"


async def test_a_bad_line_hurts_no_other() -> None:
    data = line("a") + b"\r\n\nnot json\n" + line("b")
    job = await inputs_of(shelf_of(data)).fill(job_of(data, count=4))
    assert [isinstance(item, BadItem) for item in job.items] == [False, True, True, False]


async def test_an_empty_file_has_no_line() -> None:
    with pytest.raises(JobRejected, match="has 0 lines"):
        await inputs_of(shelf_of(b"")).fill(job_of(b""))


async def test_many_jobs_of_one_file_fetch_it_once() -> None:
    shelf = shelf_of()
    shelf.gate.clear()
    inputs = inputs_of(shelf)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(inputs.fill(job_of(first=n))) for n in range(10)]
        await asyncio.sleep(0)
        shelf.gate.set()
    assert [names(task.result()) for task in tasks] == [[f"row-{n}"] for n in range(10)]
    assert shelf.reads == 1


async def test_a_digest_alone_opens_nobody_elses_file() -> None:
    shelf = shelf_of()
    inputs = inputs_of(shelf)
    await inputs.fill(job_of())
    with pytest.raises(JobRejected):
        job_of(tenant="evil")
    with pytest.raises(JobRejected, match="no store") as caught:
        await inputs.fill(job_of(tenant="evil", uri="s3://mine/evil/a.jsonl"))
    assert caught.value.code == "input_elsewhere"


async def test_a_file_with_other_bytes_is_refused() -> None:
    with pytest.raises(JobRejected, match="another sha256") as caught:
        await inputs_of(shelf_of(b"other")).fill(job_of())
    assert caught.value.code == "input_unusable"


async def test_a_missing_or_too_large_file_is_refused() -> None:
    with pytest.raises(JobRejected, match="there is no"):
        await inputs_of(Shelf()).fill(job_of())
    with pytest.raises(JobRejected, match="too large"):
        await inputs_of(shelf_of(), limit_bytes=len(FILE) - 1).fill(job_of())
    assert names(await inputs_of(shelf_of(), limit_bytes=len(FILE)).fill(job_of())) == ["row-0"]


TROUBLES: list[Callable[[str], Exception]] = [StoreUnavailable, StoreRefused, BrokerUnreachable]


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_store_in_trouble_is_no_fault_of_the_job(
    trouble: Callable[[str], Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = shelf_of()
    shelf.error = trouble("out for lunch")
    inputs = inputs_of(shelf)
    for _ in range(3):
        with pytest.raises(Unready, match="lunch"):
            await inputs.fill(job_of())
    assert shelf.reads == 1, "it is left alone for a while"
    monkeypatch.setattr(module, "REST_S", 0.0)
    shelf.error = None
    inputs = inputs_of(shelf)
    assert names(await inputs.fill(job_of())) == ["row-0"]


async def test_one_store_in_trouble_leaves_the_other_at_work() -> None:
    s3, objects = Shelf("s3"), shelf_of()
    s3.error = StoreUnavailable("gone")
    inputs = inputs_of(objects, s3)
    with pytest.raises(Unready):
        await inputs.fill(job_of(b"x", uri="s3://b/acme/a"))
    assert names(await inputs.fill(job_of())) == ["row-0"]


async def test_a_store_that_answers_too_late_is_in_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FETCH_S", 0.01)
    shelf = shelf_of()
    shelf.gate.clear()
    with pytest.raises(Unready, match="not read within"):
        await inputs_of(shelf).fill(job_of())


def test_the_cache_forgets_what_was_used_longest_ago() -> None:
    size = Lines(b"x" * KIB).size_bytes
    cache = Cache(2 * size)
    for key in "ab":
        cache.put(key, Lines(b"x" * KIB))
    assert cache.get("a")
    cache.put("c", Lines(b"x" * KIB))
    assert [cache.get(key) is not None for key in "abc"] == [True, False, True]
    assert cache.size_bytes <= 2 * size
    cache.put("large", Lines(b"x" * 100 * KIB))
    assert cache.get("large")
    assert cache.get("a") is None
