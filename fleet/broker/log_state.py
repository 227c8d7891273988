"""What the messages of a result log add up to, and how lines are packed into messages. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from fleet.broker.stored import Stored
from fleet.errors import JobRejected
from fleet.job import MAX_ITEMS, MIB, ResultLine, WireError
from fleet.wire import RECORD, SHA256, WRITER, decode_lines, encode_lines

CLAIM_RECORD: Final = "claim"
# One message of the log: half of max_payload, as for jobs, so that headers never matter.
MAX_MESSAGE_BYTES: Final = MIB // 2


class ClaimRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader of a raw log sees of a take-over. at: seconds since the epoch."""

    object: str = "fleet.claim"
    node: str
    at: float


class LogState(msgspec.Struct, frozen=True, kw_only=True):
    """A job's result log.

    sequence: of the last message on the subject, 0 if there is none; the next append names it.
    sha256: fingerprint of the job that the log belongs to. items: how many the job has, None while
    no line says it. lines: the first line of each item, in the order in which they were written.
    writer: whose run wrote the last message. Appends are guarded, so as long as that is one's own,
    nobody else wrote since one's last.
    """

    sequence: int = 0
    sha256: str | None = None
    items: int | None = None
    lines: tuple[ResultLine, ...] = ()
    writer: str | None = None

    @property
    def done(self) -> frozenset[int]:
        """The indices of items that have their line."""
        return frozenset(line.fleet.item for line in self.lines)

    @property
    def complete(self) -> bool:
        """Whether every item has its line."""
        return self.items is not None and len(self.lines) == self.items

    @property
    def usage(self) -> dict[str, int]:
        """The sums of the lines' usage figures, by name."""
        sums: dict[str, int] = {}
        for line in self.lines:
            for name, count in (line.usage or {}).items():
                sums[name] = sums.get(name, 0) + count
        return sums


def fold(job: str, messages: Iterable[Stored]) -> LogState:
    """Add up a log. What is no line of this job is treated as absent; its sequence counts."""
    sequence = 0
    sha256: str | None = None
    writer: str | None = None
    items: int | None = None
    lines: dict[int, ResultLine] = {}
    for stored in messages:
        sequence = stored.sequence
        writer = _run_of(stored)
        found = lines_of(job, stored)
        if sha256 is None and (found or is_claim(stored)):
            sha256 = stored.headers.get(SHA256)
        for line in found:
            items = line.fleet.items if items is None else items
            if line.fleet.items == items:
                lines.setdefault(line.fleet.item, line)
    return LogState(
        sequence=sequence, sha256=sha256, items=items, lines=tuple(lines.values()), writer=writer
    )


def _run_of(stored: Stored) -> str | None:
    """Read the run's token, which stands before that of the append."""
    return stored.headers.get(WRITER, "").partition(".")[0] or None


def lines_of(job: str, stored: Stored) -> tuple[ResultLine, ...]:
    """Decode a message's lines; () for a claim record and for whatever a forger put there.

    A message counts as a whole or not at all: we never write half a truth.
    """
    if is_claim(stored):
        return ()
    try:
        lines = decode_lines(stored.payload)
    except JobRejected:
        return ()
    return lines if all(_belongs(job, line) for line in lines) else ()


def is_claim(stored: Stored) -> bool:
    """Say whether a message is the record of a take-over instead of results."""
    return stored.headers.get(RECORD) == CLAIM_RECORD


def pack(lines: Sequence[ResultLine], *, limit_bytes: int = MAX_MESSAGE_BYTES) -> tuple[bytes, ...]:
    """Encode lines as few messages of at most `limit_bytes`, in order.

    A line that is too long by itself becomes an error line that says so.
    """
    packed: list[bytes] = []
    held: list[bytes] = []
    size = 0
    for line in lines:
        encoded = encode_lines((line,))
        if len(encoded) > limit_bytes:
            encoded = encode_lines((_too_large(line, len(encoded), limit_bytes),))
        if held and size + len(encoded) > limit_bytes:
            packed.append(b"\n".join(held))
            held, size = [], 0
        held.append(encoded)
        size += len(encoded) + 1
    return (*packed, b"\n".join(held)) if held else ()


def _belongs(job: str, line: ResultLine) -> bool:
    return (
        line.fleet.job == job
        and 0 <= line.fleet.item < line.fleet.items <= MAX_ITEMS
        and (line.response is None) != (line.error is None)
    )


def _too_large(line: ResultLine, size: int, limit_bytes: int) -> ResultLine:
    message = (
        f"the result of item {line.fleet.item} of job {line.fleet.job} has {size} bytes, over the "
        f"limit of {limit_bytes} for one line: ask for fewer tokens, choices, log probabilities "
        "or inputs"
    )
    error = WireError(code="result_too_large", message=message)
    return msgspec.structs.replace(line, response=None, error=error)
