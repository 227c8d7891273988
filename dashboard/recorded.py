"""A recording as a source of snapshots, and the file that one is written to."""

import asyncio
import gzip
import time
import zlib
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self, cast

from dashboard.recording import Reader, Writer
from dashboard.snapshot import FleetSnapshot, Story
from dashboard.steps import story_of
from fleet.errors import NotFound, UsageError

# No line that we write is longer; a fleet of a thousand nodes with all its jobs has a tenth.
MOST_BYTES: Final = 64 * 1024 * 1024
# What was recorded with a gap, as a laptop that slept, is not waited for.
LONGEST_S: Final = 10.0
# How often a compressed file is made readable as it grows; each time costs some bytes.
FLUSH_S: Final = 5.0
_PACKED: Final = ".gz"
_EARLY: Final = 0.9


class Recording:
    """Plays a file. speed: times as fast as it was. loops: begins anew at its end.

    Implements `dashboard.source.Source`.
    """

    def __init__(self, path: Path, *, speed: float = 1.0, loops: bool = False) -> None:
        self.name = f"recording {path.name}"
        self.interval_s = 1.0
        self._path = path
        self._speed = speed
        self._loops = loops
        self._shown: FleetSnapshot | None = None

    async def snapshots(self) -> AsyncGenerator[FleetSnapshot]:
        """Yield what was recorded, when it is due. Raises UsageError for what is no recording."""
        while True:
            began = time.monotonic()
            # Where in the playing the last snapshot belongs, and the last that was shown.
            played_s, shown_s = 0.0, float("-inf")
            last: FleetSnapshot | None = None
            with closing(read(self._path)) as recorded:
                for snapshot in recorded:
                    if last is not None:
                        gap_s = min(LONGEST_S, max(0.0, snapshot.at - last.at))
                        played_s += gap_s / self._speed
                    last = snapshot
                    if played_s - shown_s >= self.interval_s * _EARLY:
                        await asyncio.sleep(max(0.0, played_s - (time.monotonic() - began)))
                        shown_s = played_s
                        yield self._show(snapshot)
            if last is None:
                raise UsageError(f"{self._path} holds no snapshot: record a fleet that is up")
            if last is not self._shown:
                yield self._show(last)
            if not self._loops:
                return
            await asyncio.sleep(self.interval_s)

    async def story(self, tenant: str, job: str, batch: str | None) -> Story:
        """Tell a job's life as far as it was recorded. Raises NotFound."""
        if self._shown is None:
            raise NotFound("nothing of the recording was shown yet")
        return story_of(self._shown, tenant, job, batch)

    def _show(self, snapshot: FleetSnapshot) -> FleetSnapshot:
        self._shown = snapshot
        return snapshot


def read(path: Path) -> Generator[FleetSnapshot]:
    """Read a recording piece by piece. Raises UsageError for a file that is none.

    One that was cut off ends where it was.
    """
    reader = Reader(path.name)
    try:
        with _opened(path, "rb") as file:
            while line := file.readline(MOST_BYTES):
                if not line.endswith(b"\n"):
                    return
                snapshot = reader.read(line)
                if snapshot is not None:
                    yield snapshot
    except EOFError:
        return
    except (OSError, zlib.error) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


class RecordFile:
    """`with RecordFile(path) as file: file.add(snapshot)`; compressed where its name ends in .gz.

    A process that is killed leaves a file that can be played up to a few seconds before.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = Writer()
        self._flushed_at = float("-inf")
        try:
            self._file = _opened(path, "xb")
        except FileExistsError as error:
            raise UsageError(f"{path} exists: name another file, or remove it") from error
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error}") from error

    def add(self, snapshot: FleetSnapshot) -> None:
        """Write a snapshot. Raises UsageError where there is no room for it."""
        with self._guarded():
            for line in self._writer.lines(snapshot):
                self._file.write(line)
            if time.monotonic() - self._flushed_at >= FLUSH_S:
                self._flushed_at = time.monotonic()
                self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._guarded():
            self._file.close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UsageError(
                f"{self._path} cannot be written any more ({error}): make room, and record anew; "
                "what is written can be played"
            ) from error


def _opened(path: Path, mode: str) -> BinaryIO:
    if path.name.endswith(_PACKED):
        return cast("BinaryIO", gzip.open(path, mode))
    return cast("BinaryIO", path.open(mode))
