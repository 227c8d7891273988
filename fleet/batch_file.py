"""A file of requests, OpenAI Batch lines: find all that is wrong with it, then cut it into jobs.

Both passes stream, so a file of any size needs no more memory than its ids. Lines travel as they
are: a job's body, or the part that is uploaded, is made of the very bytes of the file.
"""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import BinaryIO, Final, Protocol

import msgspec

from fleet.errors import UsageError
from fleet.job import MAX_ITEMS, MIB, BadItem, Item
from fleet.manifest import MAX_JOBS, MAX_LINES, Layout, layout_of
from fleet.subjects import shown
from fleet.wire import decode_item

DEFAULT_CHUNK: Final = 64
_HEAD, _TAIL = b'{"requests":[', b"]}"
# Under the limit of a job (512 KiB), so that its subject and headers have room too.
MAX_BODY_BYTES: Final = 480 * 1024
MAX_LINE_BYTES: Final = MAX_BODY_BYTES - len(_HEAD) - len(_TAIL)
# A part of a file that is uploaded, and the longest line in it: well under what consumers read.
MAX_PART_BYTES: Final = 16 * MIB
MAX_UPLOADED_LINE_BYTES: Final = 8 * MIB
_BLANK: Final = b" \t\r\n"
_UTF8_MARK: Final = b"\xef\xbb\xbf"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


class Problem(msgspec.Struct, frozen=True, order=True):
    """What is wrong with a line. line: from 1, as editors count."""

    line: int
    code: str
    message: str


class Limits(msgspec.Struct, frozen=True):
    """The most bytes of a line, and of all lines of one job together with what holds them."""

    line_bytes: int
    body_bytes: int


INLINE: Final = Limits(MAX_LINE_BYTES, MAX_BODY_BYTES)
UPLOADED: Final = Limits(MAX_UPLOADED_LINE_BYTES, MAX_PART_BYTES)


class Part(msgspec.Struct, frozen=True):
    """A piece of a file, to be uploaded: its lines, and how many of them each job has, in order."""

    data: bytes
    counts: tuple[int, ...]


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was read once, from its first byte to its last.

    sha256: hex digest of its bytes. model: the one that was asked for, else the one that its bodies
    name, else None. layout: how it is cut into jobs of at most `chunk` items. marks: a short digest
    of each job's body. Layout and marks are of no use while there are problems.
    limits: INLINE where the jobs hold their lines, UPLOADED where they point to them.
    """

    sha256: str
    model: str | None
    chunk: int
    layout: Layout
    marks: tuple[bytes, ...]
    problems: tuple[Problem, ...]
    limits: Limits = INLINE


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...


def survey(
    file: BinaryIO,
    *,
    model: str | None = None,
    chunk: int = DEFAULT_CHUNK,
    limits: Limits = INLINE,
) -> Survey:
    """Read a whole file and report every bad line of it, not just the first.

    model: what the bodies may name. chunk: the most items a job, 1 to 1024.
    """
    if not 1 <= chunk <= MAX_ITEMS:
        raise UsageError(f"a chunk of {chunk} items is not possible: choose 1 to {MAX_ITEMS}")
    digest = hashlib.sha256()
    check = _Check(model, limits.line_bytes)
    sizes: list[int] = []
    marks: list[bytes] = []
    numbered = _numbered(file, digest, limits.line_bytes)
    for group in pack(check.good(numbered), count=chunk, max_bytes=limits.body_bytes):
        sizes.append(len(group))
        marks.append(_mark(splice(group)))
    if len(sizes) > MAX_JOBS:
        raise UsageError(
            f"the file makes {len(sizes)} jobs, over the limit of {MAX_JOBS}: split it"
        )
    if not sizes and not check.problems:
        check.report(1, "empty_file", "the file holds no request")
    return Survey(
        sha256=digest.hexdigest(),
        model=check.model,
        chunk=chunk,
        layout=layout_of(sizes),
        marks=tuple(marks),
        problems=tuple(sorted(check.problems)),
        limits=limits,
    )


def bodies(file: BinaryIO, survey: Survey) -> Iterator[bytes]:
    """Cut a surveyed file without problems into its job bodies, in order.

    Raises UsageError as soon as the file is not what it was when it was surveyed.
    """
    yield from map(splice, _groups(file, survey))


def parts(file: BinaryIO, survey: Survey) -> Iterator[Part]:
    """Cut a surveyed file into parts for the upload; no job's lines are in two. As `bodies`."""
    lines: list[bytes] = []
    counts: list[int] = []
    size = 0
    for group in _groups(file, survey):
        more = sum(map(len, group)) + len(group)
        if counts and size + more > MAX_PART_BYTES:
            yield _part(lines, counts)
            lines, counts, size = [], [], 0
        lines += group
        counts.append(len(group))
        size += more
    if counts:
        yield _part(lines, counts)


def _part(lines: list[bytes], counts: list[int]) -> Part:
    return Part(b"".join(line + b"\n" for line in lines), tuple(counts))


def _groups(file: BinaryIO, survey: Survey) -> Iterator[list[bytes]]:
    """Read the lines of each job again, and compare them with what was surveyed."""
    numbered = _numbered(file, hashlib.sha256(), survey.limits.line_bytes)
    lines = (line for _, line in numbered if line)
    cut = pack(lines, count=survey.chunk, max_bytes=survey.limits.body_bytes)
    for group, mark in zip_longest(cut, survey.marks):
        if group is None or mark != _mark(splice(group)):
            raise UsageError("the file changed while it was read: leave it alone and submit again")
        yield group


def pack(
    lines: Iterable[bytes], *, count: int, max_bytes: int = MAX_BODY_BYTES
) -> Iterator[list[bytes]]:
    """Group lines, in order, so that each group's body has at most `count` items and `max_bytes`.

    A line that is too long for any body makes a group of its own.
    """
    empty = len(_HEAD) + len(_TAIL) - 1  # n lines need n - 1 commas
    group: list[bytes] = []
    size = empty
    for line in lines:
        if group and (len(group) == count or size + 1 + len(line) > max_bytes):
            yield group
            group, size = [], empty
        group.append(line)
        size += 1 + len(line)
    if group:
        yield group


def splice(lines: Iterable[bytes]) -> bytes:
    """Make one job body of lines as they are."""
    return _HEAD + b",".join(lines) + _TAIL


def _mark(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=8).digest()


class _Check:
    """What has to be remembered from line to line."""

    def __init__(self, model: str | None, line_bytes: int) -> None:
        self.model = model
        self._line_bytes = line_bytes
        self.problems: list[Problem] = []
        self._model_from = "the file goes to" if model else ""
        self._seen: dict[str, int] = {}

    @property
    def _is_inline(self) -> bool:
        return self._line_bytes == MAX_LINE_BYTES

    def report(self, line: int, code: str, message: str) -> None:
        self.problems.append(Problem(line, code, message))

    def good(self, numbered: Iterable[tuple[int, bytes | None]]) -> Iterator[bytes]:
        """Pass on the lines that are fit to send; report the others."""
        for number, raw in numbered:
            if number > MAX_LINES:
                self.report(
                    number, "too_many_lines", f"more than {MAX_LINES} lines: split the file"
                )
                return
            if raw is None:
                self.report(
                    number,
                    "too_large",
                    f"the line has more than {self._line_bytes} bytes, which no job can hold"
                    + ("; `--via objects` takes longer ones" if self._is_inline else ""),
                )
                continue
            if number == 1 and raw.startswith(_UTF16_MARKS):
                self.report(1, "not_utf8", "the file is UTF-16: save it as UTF-8")
                return
            line = raw
            if number == 1 and raw.startswith(_UTF8_MARK):
                self.report(
                    1,
                    "byte_order_mark",
                    "the file begins with a byte order mark: save it as UTF-8 without one",
                )
                line = raw.removeprefix(_UTF8_MARK)
            if line:
                self._line(number, line)
                yield line

    def _line(self, number: int, line: bytes) -> None:
        match decode_item(line, index=0):
            case BadItem(custom_id=custom_id, error=error):
                self.report(number, error.code, error.message)
            case Item(custom_id=None):
                self.report(
                    number,
                    "missing_custom_id",
                    "no custom_id: give each request one of its own, to know its answer by",
                )
                return
            case Item(custom_id=custom_id, body=body):
                self._same_model(number, body.model)
        if custom_id is None:
            return
        first = self._seen.setdefault(custom_id, number)
        if first != number:
            self.report(
                number,
                "duplicate_custom_id",
                f"custom_id {shown(custom_id)} stands on line {first} too: make it unique",
            )

    def _same_model(self, number: int, model: str | None) -> None:
        if model is None or model == self.model:
            return
        if self.model is None:
            self.model = model
            self._model_from = f"line {number} asks for"
            return
        self.report(
            number,
            "other_model",
            f"the body asks for model {shown(model)}, but {self._model_from} "
            f"{shown(self.model)}: a batch has one model",
        )


def _numbered(
    file: BinaryIO, digest: _Digest, line_bytes: int
) -> Iterator[tuple[int, bytes | None]]:
    """Yield lines without blanks around them; None for one over the limit, which is never held."""
    number, read_bytes = 0, line_bytes + len(b"\r\n") + 1
    while line := file.readline(read_bytes):
        number += 1
        digest.update(line)
        stripped = line.strip(_BLANK)
        yield number, stripped if len(stripped) <= line_bytes else None
        while line and not line.endswith(b"\n"):
            line = file.readline(read_bytes)
            digest.update(line)
