"""Dead letters: copies of jobs that were given up, each with the reason."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import Final

import msgspec

from fleet.broker.connection import Connection
from fleet.broker.headers import headers_size
from fleet.broker.stored import Stored, messages
from fleet.subjects import DEAD, IDENTIFIER, NO_BATCH, dead_subject
from fleet.wire import JOB_ID, MSG_ID

REASON: Final = "Fleet-Reason"
CODE: Final = "Fleet-Code"
STREAM: Final = "Fleet-Stream"
SEQUENCE: Final = "Fleet-Sequence"
SUBJECT: Final = "Fleet-Subject"
# The job's own headers travel as one JSON value: re-emitted as headers, a foreign `Nats-TTL` or
# `Nats-Rollup` would command the stream DEAD.
HEADERS: Final = "Fleet-Headers"
HISTORY: Final = "Fleet-History"
# Instead of the job, where job and reason together are more than one message holds.
OMITTED: Final = "Fleet-Omitted"

MAX_REASON: Final = 1000
MAX_NAME: Final = 200
MAX_JSON_BYTES: Final = 8192


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One dead letter without the job's body.

    sequence: in DEAD. stream, stream_sequence: where the job came from. buried_at: seconds since
    the epoch. size_bytes: of the body that is stored. history: what happened to the job, in order.
    """

    sequence: int
    tier: str
    model: str
    tenant: str
    job: str | None
    code: str
    reason: str
    stream: str
    stream_sequence: str
    buried_at: float
    size_bytes: int
    history: tuple[str, ...] = ()


class DeadLetters:
    """Writes and lists dead letters."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def bury(
        self,
        *,
        subject: str,
        payload: bytes,
        headers: Mapping[str, str],
        reason: str,
        code: str,
        tenant: str | None,
        job: str | None,
        stream: str,
        sequence: int,
        history: Sequence[str] = (),
    ) -> None:
        """Store a copy of a job and why it was given up; returns once the broker confirms it.

        subject, payload, headers: as they came, however hostile. Saying the same job again within
        two minutes stores nothing. Raises BrokerRefused, BrokerUnreachable.
        """
        _, tier, model, last, *_ = chain(subject.split("."), repeat(NO_BATCH, 4))
        letter = {
            MSG_ID: f"dead-{stream}-{sequence}",
            REASON: one_line(reason, MAX_REASON),
            CODE: one_line(code, MAX_NAME),
            STREAM: stream,
            SEQUENCE: str(sequence),
            SUBJECT: one_line(subject, MAX_NAME),
            **_json_header(HEADERS, dict(headers)),
            **_json_header(HISTORY, list(history)),
        }
        if job is not None and IDENTIFIER.fullmatch(job):
            letter[JOB_ID] = job
        room = self._connection.max_payload - headers_size(letter)
        if len(payload) > room:
            letter[OMITTED] = f"{len(payload)} bytes, sha256 {hashlib.sha256(payload).hexdigest()}"
            payload = b""
        where = dead_subject(tier, model, tenant or last)
        await self._connection.append(where, payload, headers=letter)

    async def list(self, *, limit: int = 100) -> list[DeadLetter]:
        """Read the newest dead letters, oldest of them first."""
        info = await self._connection.api(f"STREAM.INFO.{DEAD}")
        state = msgspec.convert(info["state"], _State)
        # Deleted letters leave holes, so we begin so much earlier.
        after = max(0, state.last_seq - state.num_deleted - limit)
        letters = [
            _letter(stored)
            async for stored in messages(self._connection, DEAD, "dead.>", after=after)
        ]
        return letters[-limit:] if limit > 0 else []


class _State(msgspec.Struct, frozen=True):
    last_seq: int
    num_deleted: int = 0


def one_line(text: str, limit: int) -> str:
    """Make foreign text fit for a header: one line, no control or bidi characters, capped."""
    cut = text if len(text) <= limit else text[: limit - 3] + "..."
    return "".join(char if char.isprintable() else " " for char in cut).strip()


def _json_header(name: str, value: dict[str, str] | Sequence[str]) -> dict[str, str]:
    """Give a header with a JSON value in ASCII; none if it is empty or too long to carry."""
    text = json.dumps(value)
    return {name: text} if value and len(text) <= MAX_JSON_BYTES else {}


def _letter(stored: Stored) -> DeadLetter:
    _, tier, model, tenant = stored.subject.split(".")
    headers = stored.headers
    return DeadLetter(
        sequence=stored.sequence,
        tier=tier,
        model=model,
        tenant=tenant,
        job=headers.get(JOB_ID),
        code=headers.get(CODE, ""),
        reason=headers.get(REASON, ""),
        stream=headers.get(STREAM, ""),
        stream_sequence=headers.get(SEQUENCE, ""),
        buried_at=stored.written_at,
        size_bytes=len(stored.payload),
        history=tuple(_history(headers.get(HISTORY, "[]"))),
    )


def _history(text: str) -> Iterator[str]:
    try:
        yield from msgspec.json.decode(text, type=tuple[str, ...])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return
