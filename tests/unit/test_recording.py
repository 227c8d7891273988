"""What is recorded of a fleet, and that it comes back as it was."""

import gzip
import json
import random
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dashboard import recorded
from dashboard.cost_rows import cost_view
from dashboard.look import Look
from dashboard.printed import tables
from dashboard.recorded import RecordFile, Recording, read
from dashboard.recording import Writer, replayed
from dashboard.snapshot import FleetSnapshot, History
from fleet.errors import NotFound, UsageError
from tests.made_up import NOW, snapshot


def evolved(before: FleetSnapshot, dice: random.Random) -> FleetSnapshot:
    """Let a second go by: some rows change, one goes, one comes."""
    more = snapshot(seed=dice.randrange(1_000), at=before.at + 1, jobs=50)
    nodes = dice.sample(before.nodes, len(before.nodes) - 1)
    jobs = dice.sample(before.jobs, len(before.jobs) - 1)
    here, listed = {one.node.node for one in nodes}, {one.job for one in jobs}
    return msgspec.structs.replace(
        more,
        nodes=(
            *(msgspec.structs.replace(one, heard_at=before.at + 1) for one in nodes),
            *(one for one in more.nodes if one.node.node not in here),
        ),
        jobs=(*jobs, *(one for one in more.jobs if one.job not in listed)),
        events=before.events,
        queues=before.queues,
    )


def bare(one: FleetSnapshot) -> FleetSnapshot:
    """Leave out what is made again, and the order of rows, which views choose."""
    return msgspec.structs.replace(
        one,
        history=History(),
        nodes=tuple(sorted(one.nodes, key=lambda fact: fact.node.node)),
        jobs=tuple(sorted(one.jobs, key=lambda fact: (fact.tier, fact.sequence))),
        batches=tuple(sorted(one.batches, key=lambda fact: fact.batch)),
    )


def story(seeded: random.Random, length: int = 30) -> list[FleetSnapshot]:
    told = [snapshot()]
    for _ in range(length):
        told.append(evolved(told[-1], seeded))
    return told


def test_every_snapshot_comes_back_as_it_was(seeded: random.Random) -> None:
    told, writer = story(seeded), Writer()
    lines = [line for one in told for line in writer.lines(one)]
    assert [bare(one) for one in replayed(lines, "x")] == [bare(one) for one in told]


def test_what_does_not_change_is_written_once() -> None:
    writer = Writer()
    first = sum(map(len, writer.lines(snapshot(jobs=500))))
    [second] = writer.lines(msgspec.structs.replace(snapshot(jobs=500), at=NOW + 1))
    assert len(second) < first / 100


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
def test_a_file_is_played_back(tmp_path: Path, name: str, seeded: random.Random) -> None:
    told = story(seeded, 5)
    with RecordFile(tmp_path / name) as file:
        for one in told:
            file.add(one)
    assert [one.at for one in read(tmp_path / name)] == [one.at for one in told]


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
def test_a_file_that_was_cut_off_is_played_up_to_there(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with RecordFile(path) as file:
        for second in range(50):
            file.add(snapshot(seed=second, at=NOW + second))
    path.write_bytes(path.read_bytes()[:-200])
    assert 1 <= len(list(read(path))) <= 50


def test_a_recording_overwrites_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("dear diary")
    with pytest.raises(UsageError, match="exists"):
        RecordFile(path)
    assert path.read_text() == "dear diary"


@pytest.mark.parametrize(
    "content",
    [b"hello\n", b"{}\n", b"[" * 100_000 + b"\n", b'{"overbook_recording":9,"source":"","at":0}\n',
     b'{"overbook_recording":1,"source":"","at":0}\n{"at":"soon"}\n', b"\xff\xfe\n"],
)  # fmt: skip
def test_a_file_that_is_none_of_ours_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"r\.jsonl"):
        list(read(path))


def numbers(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the paths to all numbers in what JSON holds."""
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from numbers(inner, (*path, key))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path


def test_a_number_that_no_float_holds_is_refused_in_words_or_shown() -> None:
    made = snapshot(nodes=2, queues=2, jobs=2, batches=2, events=8)
    head, line = Writer().lines(made)
    for path in list(numbers(json.loads(line))):
        delta = inner = json.loads(line)
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = 10**400
        try:
            [one] = replayed([head, json.dumps(delta).encode()], "x")
        except UsageError:
            continue
        assert tables(one, 60.0, width=200, look=Look()), path


def test_damaged_compression_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "r.gz"
    packed = bytearray(gzip.compress(b'{"overbook_recording":1,"source":"","at":0}\n' * 50))
    packed[20] ^= 0xFF
    path.write_bytes(bytes(packed))
    with pytest.raises(UsageError, match=r"r\.gz"):
        list(read(path))


def test_a_disk_that_is_full_is_said_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr(recorded, "_opened", lambda *_: full)
        with (
            pytest.raises(UsageError, match="No space left"),
            RecordFile(tmp_path / "r.jsonl") as file,
        ):
            file.add(snapshot())


def test_a_moment_that_no_calendar_has_ends_no_screen() -> None:
    made = snapshot()
    assert made.costs is not None
    costs = msgspec.structs.replace(made.costs, since=1e300)
    assert "from - UTC" in cost_view(msgspec.structs.replace(made, costs=costs), 60.0).doubts[0]


async def test_an_empty_recording_says_so(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b"")
    with pytest.raises(UsageError, match="no snapshot"):
        async with aclosing(Recording(path).snapshots()) as playing:
            await anext(playing)


async def test_playing_fast_shows_the_end_and_then_ends(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with RecordFile(path) as file:
        for second in range(60):
            file.add(snapshot(at=NOW + second))
    source = Recording(path, speed=1000.0)
    shown = [one.at async for one in source.snapshots()]
    assert shown[0] == NOW
    assert shown[-1] == NOW + 59
    assert len(shown) < 10, "no more often than is wanted"


async def test_a_recorded_job_has_a_story(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with RecordFile(path) as file:
        file.add(snapshot(jobs=40))
    source = Recording(path)
    async with aclosing(source.snapshots()) as playing:
        await anext(playing)
    told = await source.story("globex", "job-000006", None)
    assert any("saved of it is 1900 s old" in text for text in told.why)
    with pytest.raises(NotFound):
        await source.story("globex", "nothing-of-the-kind", None)
