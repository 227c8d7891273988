"""The two files of a finished batch, in OpenAI's format and in the order of the input."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from fleet.job import Response, ResultLine, WireError


class _PlainLine(msgspec.Struct, frozen=True):
    id: str
    custom_id: str | None
    response: Response | None
    error: WireError | None


class Files(msgspec.Struct, frozen=True):
    """Where the answers of a batch lie, and its errors."""

    output: Path
    errors: Path


class Writer:
    """Takes result lines in order and puts each where it belongs."""

    def __init__(self, output: BinaryIO, errors: BinaryIO, *, with_fleet: bool) -> None:
        self._output = output
        self._errors = errors
        self._with_fleet = with_fleet

    def add(self, line: ResultLine) -> None:
        """Append one line to the output file, or to that of the errors."""
        plain = _PlainLine(line.id, line.custom_id, line.response, line.error)
        encoded = msgspec.json.encode(line if self._with_fleet else plain)
        file = self._output if line.error is None else self._errors
        file.write(encoded + b"\n")


def files_of(batch: str, folder: Path) -> Files:
    """Name the files of a batch, whose id was checked, in a folder that the user chose."""
    return Files(folder / f"{batch}_output.jsonl", folder / f"{batch}_errors.jsonl")


@contextmanager
def writing(files: Files, *, with_fleet: bool = False) -> Iterator[Writer]:
    """Give a writer; both files appear whole at the end, or not at all if anything is raised.

    with_fleet: write our own fields too: how each item was served, and `usage`.
    """
    output_part, errors_part = _part_of(files.output), _part_of(files.errors)
    try:
        with output_part.open("xb") as output, errors_part.open("xb") as errors:
            yield Writer(output, errors, with_fleet=with_fleet)
            # Both are on the disk before either gets its name: it may be full.
            for file in (output, errors):
                file.flush()
                os.fsync(file.fileno())
        output_part.replace(files.output)
        errors_part.replace(files.errors)
    finally:
        output_part.unlink(missing_ok=True)
        errors_part.unlink(missing_ok=True)


def _part_of(path: Path) -> Path:
    """Name what a file is until it is whole."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
