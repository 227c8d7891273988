"""A file is cut, uploaded once, and pointed to; nothing of it is changed or left out."""

import hashlib
import io
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet import batch_file
from fleet.batch_file import INLINE, MAX_LINE_BYTES, UPLOADED, Part, parts, survey
from fleet.batches import draft
from fleet.blob import Stat, parse_place
from fleet.claim_check import RENEW_S, check_in, part_of
from fleet.errors import JobRejected, UsageError
from fleet.job import MAX_ITEMS, Source

SHA = hashlib.sha256


def line(name: str, text: str = "hi") -> bytes:
    body = {"prompt": text}
    return json.dumps({"custom_id": name, "url": "/v1/completions", "body": body}).encode()


def file_of(*sizes: int) -> bytes:
    return b"\n".join(line(f"row-{n}", "x" * size) for n, size in enumerate(sizes)) + b"\n"


class Shelf:
    """A store that counts. written_at: of all that is put."""

    def __init__(self, written_at: float = 1e12) -> None:
        self.blobs: dict[str, bytes] = {}
        self.written_at = written_at
        self.puts: list[str | None] = []

    async def put(self, key: str, data: bytes, *, etag: str | None = None) -> str:
        self.puts.append(etag)
        self.blobs[key] = data
        return "e"

    async def get(self, key: str, *, limit_bytes: int, sha256: str | None = None) -> bytes:
        return self.blobs[key]

    async def head(self, key: str) -> Stat | None:
        if key not in self.blobs:
            return None
        return Stat(etag="e", size_bytes=len(self.blobs[key]), written_at=self.written_at)

    async def delete(self, key: str) -> None:
        del self.blobs[key]

    def uri(self, key: str) -> str:
        return f"objects://payloads/{key}"

    def holds(self, place: object) -> bool:
        return True


def sources(bodies: list[bytes]) -> list[Source]:
    return [msgspec.json.decode(body, type=dict[str, Source])["input"] for body in bodies]


def lines_of(shelf: Shelf, source: Source) -> list[bytes]:
    data = shelf.blobs[parse_place(source.uri).key]
    assert SHA(data).hexdigest() == source.sha256
    return data.splitlines()[source.first : source.first + source.count]


@given(
    sizes=st.lists(st.integers(0, 400), min_size=1, max_size=40),
    chunk=st.integers(1, 9),
    part_bytes=st.integers(300, 3000),
)
async def test_the_jobs_of_a_file_hold_its_lines_each_once_and_in_order(
    sizes: list[int], chunk: int, part_bytes: int
) -> None:
    content = file_of(*sizes)
    limits = batch_file.Limits(line_bytes=1000, body_bytes=part_bytes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_file, "MAX_PART_BYTES", part_bytes)
        found = survey(io.BytesIO(content), chunk=chunk, limits=limits)
        shelf = Shelf()
        bodies = await check_in(shelf, "acme", parts(io.BytesIO(content), found))
    pointed = sources(bodies)
    assert [one for source in pointed for one in lines_of(shelf, source)] == content.splitlines()
    assert [source.count for source in pointed] == [
        run.items for run in found.layout for _ in range(run.jobs)
    ]


async def test_a_file_that_is_there_is_not_uploaded_again() -> None:
    shelf, part = Shelf(), Part(line("a") + b"\n", (1,))
    first = await check_in(shelf, "acme", [part])
    assert await check_in(shelf, "acme", [part]) == first
    assert shelf.puts == [None]


async def test_an_old_file_is_made_young_again() -> None:
    shelf, part = Shelf(written_at=0.0), Part(line("a") + b"\n", (1,))
    await check_in(shelf, "acme", [part])
    await check_in(shelf, "acme", [part])
    assert shelf.puts == [None, "e"]
    assert RENEW_S < 7 * 86_400


def test_blank_lines_and_line_ends_do_not_shift_what_is_pointed_to() -> None:
    content = b"\r\n\n" + line("a") + b"\r\n  \n" + line("b")
    found = survey(io.BytesIO(content), chunk=1, limits=UPLOADED)
    (part,) = parts(io.BytesIO(content), found)
    assert part == Part(line("a") + b"\n" + line("b") + b"\n", (1, 1))


def test_a_line_too_long_for_a_message_may_be_uploaded() -> None:
    content = file_of(MAX_LINE_BYTES)
    (problem,) = survey(io.BytesIO(content), limits=INLINE).problems
    assert (problem.code, "--via objects" in problem.message) == ("too_large", True)
    assert survey(io.BytesIO(content), limits=UPLOADED).problems == ()


def test_a_file_that_changes_while_it_is_read_is_noticed() -> None:
    found = survey(io.BytesIO(file_of(1, 2)), chunk=1, limits=UPLOADED)
    with pytest.raises(UsageError, match="changed"):
        list(parts(io.BytesIO(file_of(1, 3)), found))


def test_a_batch_that_points_elsewhere_is_another_batch() -> None:
    found = survey(io.BytesIO(file_of(1)), model="m")
    options = {"tenant": "t", "model": "m", "input_name": "f", "now": 0.0}
    plans = [draft(found, via=via, **options) for via in ("inline", "objects", "s3")]  # type: ignore[arg-type]
    assert len({plan.id for plan in plans}) == 3
    assert not plans[0].same_work(msgspec.structs.replace(plans[0], via="objects"))


@pytest.mark.parametrize("count", [1, 3])
def test_a_large_job_becomes_a_file_of_its_requests(count: int) -> None:
    requests = [json.loads(line(f"row-{n}")) for n in range(count)]
    pretty = json.dumps({"requests": requests}, indent=2).encode()
    part = part_of(pretty)
    assert part.counts == (count,)
    assert [json.loads(each) for each in part.data.splitlines()] == requests
    assert part_of(json.dumps(requests[0], indent=1).encode()).counts == (1,)


@pytest.mark.parametrize(
    "payload",
    [b"", b"[" * 100_000, b"\xff", b"5", json.dumps({"requests": [1] * (MAX_ITEMS + 1)}).encode()],
)
def test_what_is_no_job_is_refused_before_anything_is_uploaded(payload: bytes) -> None:
    with pytest.raises(JobRejected):
        part_of(payload)
