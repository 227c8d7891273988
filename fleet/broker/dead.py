"""Dead letters: copies of jobs that were given up, each with the reason."""

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import Final

import msgspec

from fleet.broker.connection import Connection
from fleet.broker.headers import headers_size, whole
from fleet.broker.queued import remove_at
from fleet.broker.stored import Stored, message_at, messages
from fleet.broker.stream_state import stream_state
from fleet.errors import NotFound
from fleet.subjects import DEAD, IDENTIFIER, NO_BATCH, dead_subject, token
from fleet.wire import JOB_ID, MSG_ID, fallback_id

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


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter with the job that is in it.

    subject, headers: the job's own, as it came. omitted: size and hash of a job too long to keep.
    """

    letter: DeadLetter
    subject: str
    headers: dict[str, str]
    payload: bytes
    omitted: str | None

    @property
    def job(self) -> str:
        """The job's id; where it had none, its place in its stream."""
        return self.letter.job or fallback_id(
            self.letter.stream, int(self.letter.stream_sequence or 0)
        )


class DeadLetters:
    """Writes, lists and drops dead letters."""

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

    async def list(
        self,
        *,
        limit: int = 100,
        tenant: str | None = None,
        model: str | None = None,
        code: str | None = None,
    ) -> list[DeadLetter]:
        """Read the newest dead letters, oldest of them first; of one tenant, model or cause only.

        Raises JobRejected for names that are none.
        """
        wanted = [
            "*" if one is None else token(one, what=what)
            for one, what in ((model, "model"), (tenant, "tenant"))
        ]
        after = 0
        if code is None and tenant is None and model is None:
            state = await stream_state(self._connection, DEAD)
            # Deleted letters leave holes, so we begin so much earlier.
            after = max(0, state.last_seq - state.num_deleted - limit)
        letters: deque[DeadLetter] = deque(maxlen=limit)
        async for stored in messages(
            self._connection, DEAD, ".".join(("dead.*", *wanted)), after=after
        ):
            letter = _letter(stored)
            if code in {None, letter.code}:
                letters.append(letter)
        return [*letters]

    async def open(self, sequence: int) -> Opened:
        """Read one dead letter with all that is in it. Raises NotFound."""
        stored = await message_at(self._connection, DEAD, sequence)
        if stored is None:
            raise NotFound(
                f"there is no dead letter {sequence}: it was requeued, dropped or has expired; "
                "`fleet dead ls` lists those that are there"
            )
        return Opened(
            letter=_letter(stored),
            subject=stored.headers.get(SUBJECT, ""),
            headers=_headers(stored.headers.get(HEADERS, "{}")),
            payload=stored.payload,
            omitted=stored.headers.get(OMITTED),
        )

    async def drop(self, sequence: int) -> bool:
        """Remove a dead letter for good; say whether it was there."""
        return await remove_at(self._connection, DEAD, sequence)


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
    came_from = whole(headers.get(SEQUENCE, ""))
    return DeadLetter(
        sequence=stored.sequence,
        tier=tier,
        model=model,
        tenant=tenant,
        job=headers.get(JOB_ID),
        code=headers.get(CODE, ""),
        reason=headers.get(REASON, ""),
        stream=headers.get(STREAM, ""),
        stream_sequence="" if came_from is None else str(came_from),
        buried_at=stored.written_at,
        size_bytes=len(stored.payload),
        history=tuple(_history(headers.get(HISTORY, "[]"))),
    )


def _headers(text: str) -> dict[str, str]:
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}


def _history(text: str) -> Iterator[str]:
    try:
        yield from msgspec.json.decode(text, type=tuple[str, ...])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return
