"""Times that users type, foreign text that terminals must not obey, and silence that is told."""

import asyncio
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import click
import pytest

from fleet.cli import answers
from fleet.cli.progress import Measured
from fleet.cli.terminal import harmless
from fleet.cli.times import Length, Moment, length
from fleet.job import TokenDelta


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("24h", 86_400), ("7d", 604_800), ("1.5m", 90)]
)
def test_a_length_of_time_is_read(text: str, seconds: float) -> None:
    assert Length().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "30", "s", "-5s", "0s", "1w", "999999999d", "٣s"])
def test_what_is_no_length_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Length().convert(text, None, None)


def test_a_moment_is_given_by_its_distance_or_as_a_time_with_a_zone() -> None:
    assert Moment().convert("1h", None, None) == pytest.approx(time.time() + 3600, abs=60)
    assert Moment().convert("1970-01-01T01:00:00+01:00", None, None) == 0
    assert Moment().convert("1970-01-01T00:01:00Z", None, None) == 60


@pytest.mark.parametrize("text", ["tomorrow", "2027-01-31", "2027-01-31T12:00:00"])
def test_a_time_without_a_zone_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Moment().convert(text, None, None)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59, "59s"), (61, "1m 01s"), (7_500, "2h 05m")]
)
def test_a_length_is_shown_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert length(seconds) == text


def test_a_terminal_gets_no_escapes_and_no_turned_text() -> None:
    hostile = "a\x1b]52;c;eA==\x07b\rc\u202ed\x9be\n\tf é 漢"
    assert harmless(hostile) == "a]52;c;eA==bcde\n\tf é 漢"


async def test_whoever_hears_nothing_is_told_that_it_goes_on_and_where_to_ask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    monkeypatch.setattr(answers, "NOTE_S", 0.01)
    monkeypatch.setattr("click.echo", lambda text, **_: said.put_nowait(text))

    async def mute(begin: int) -> AsyncGenerator[TokenDelta, None]:
        await asyncio.Event().wait()
        yield TokenDelta(item=0, offset=begin, text="", token_ids=())

    async with asyncio.timeout(5), answers.silence_told(mute, job="j"):
        assert "`fleet why j` tells what for" in await said.get()


def test_a_file_tells_how_much_of_it_is_read(tmp_path: Path) -> None:
    file, told = tmp_path / "big", list[tuple[str, int, int]]()
    lines = [b"x" * 300_000 + b"\n" for _ in range(10)]
    file.write_bytes(b"".join(lines))
    with file.open("rb") as opened:
        assert [*iter(Measured(opened, lambda *how: told.append(how)).readline, b"")] == lines
        assert opened.read() == b"", "it is the same file, read to its end"
    assert told == [("MiB read", 1, 2), ("MiB read", 2, 2)]
