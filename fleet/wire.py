"""Foreign bytes to jobs, and result lines to bytes.

Everything that comes in is hostile until it has passed through here. Size is capped before any
decoding; deep JSON raises RecursionError and bad UTF-8 UnicodeDecodeError, neither of which is an
error of msgspec's, so `_decode` turns all of them into one typed rejection.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec

from fleet.blob import source_of, unread
from fleet.body import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    URLS,
    Body,
    ChatBody,
    CompletionBody,
    EmbeddingBody,
)
from fleet.caps import check_body, check_items
from fleet.errors import JobRejected
from fleet.job import (
    MAX_CUSTOM_ID,
    MAX_JOB_BYTES,
    BadItem,
    Item,
    Job,
    ResultLine,
    Tier,
    WireError,
)
from fleet.subjects import identifier, parse_job_subject, plain, shown

JOB_ID: Final = "Fleet-Job-Id"
MSG_ID: Final = "Nats-Msg-Id"
DEADLINE: Final = "Fleet-Deadline"
BATCH: Final = "Fleet-Batch"
TRACEPARENT: Final = "traceparent"
_TRACE: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
# On messages of the result log: the fingerprint of the job, who wrote this message, and what it is.
SHA256: Final = "Fleet-Sha256"
WRITER: Final = "Fleet-Writer"
RECORD: Final = "Fleet-Record"

_BODIES: Final[dict[str, type[Body]]] = {
    CHAT: ChatBody,
    COMPLETIONS: CompletionBody,
    EMBEDDINGS: EmbeddingBody,
}
T = TypeVar("T")


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a job before its body is looked at: who asked, and where answers go."""

    id: str
    tenant: str
    model: str
    tier: Tier
    batch: str | None = None
    deadline: float | None = None
    traceparent: str | None = None


class _Form(msgspec.Struct, frozen=True):
    requests: tuple[msgspec.Raw, ...] | None = None
    url: Any = None
    input: Any = None


class _Line(msgspec.Struct, frozen=True):
    url: str
    body: msgspec.Raw
    custom_id: str | None = None
    method: str = "POST"


class _Named(msgspec.Struct, frozen=True):
    custom_id: str | None = None


def decode_envelope(
    subject: str, headers: Mapping[str, str], *, stream: str, sequence: int
) -> Envelope:
    """Read subject and headers. Raises JobRejected when a name, an id or the deadline is wrong."""
    where = parse_job_subject(subject)
    given = headers.get(JOB_ID) or headers.get(MSG_ID)
    batch = headers.get(BATCH)
    deadline = headers.get(DEADLINE)
    return Envelope(
        id=identifier(given, what="job id") if given else fallback_id(stream, sequence),
        tenant=where.tenant,
        model=where.model,
        tier=where.tier,
        batch=identifier(batch, what="batch id") if batch else None,
        deadline=_deadline(deadline) if deadline else None,
        traceparent=trace_of(headers),
    )


def trace_of(headers: Mapping[str, str]) -> str | None:
    """Read the trace that a message belongs to.

    The standard's rule: a broken trace is none, and no reason to refuse the work.
    """
    trace = headers.get(TRACEPARENT)
    return trace if trace and _TRACE.fullmatch(trace) else None


def job_headers(
    tenant: str,
    job: str,
    *,
    batch: str | None = None,
    deadline: float | None = None,
    traceparent: str | None = None,
) -> dict[str, str]:
    """Build a job's headers; deadline in seconds since the epoch. traceparent: of its producer.

    The broker tells messages apart by `Nats-Msg-Id` within a whole stream, so it carries the tenant
    too: equal ids of two tenants are two jobs. Raises JobRejected for ids that are none, and for a
    deadline that is no date.
    """
    headers = {JOB_ID: identifier(job, what="job id"), MSG_ID: f"{tenant}.{job}"}
    if batch is not None:
        headers[BATCH] = identifier(batch, what="batch id")
    if deadline is not None:
        headers[DEADLINE] = deadline_text(deadline)
    if traceparent and _TRACE.fullmatch(traceparent):
        headers[TRACEPARENT] = traceparent
    return headers


def deadline_text(deadline: float) -> str:
    """Write a deadline, in seconds since the epoch. Raises JobRejected for what is no date."""
    try:
        return datetime.fromtimestamp(deadline, UTC).isoformat()
    except (ValueError, OverflowError, OSError) as error:
        raise JobRejected(
            f"deadline {deadline:g} is no date: give seconds since the epoch",
            code="invalid_deadline",
        ) from error


def fallback_id(stream: str, sequence: int) -> str:
    """Name a job that came without an id; the publisher knows both parts from its PubAck."""
    return f"{stream}-{sequence}"


def decode_job(envelope: Envelope, payload: bytes, *, headers_bytes: int = 0) -> Job:
    """Decode a body. A bad request in a chunk becomes a BadItem; a bad chunk raises JobRejected."""
    if len(payload) + headers_bytes > MAX_JOB_BYTES:
        raise JobRejected(
            f"the job has {len(payload) + headers_bytes} bytes with its headers, over the limit of "
            f"{MAX_JOB_BYTES}: cut it into smaller jobs",
            code="too_large",
        )
    form = _decode(payload, _Form)
    source = None
    if form.requests is not None and form.input is not None:
        raise JobRejected(
            "the job has both `requests` and an `input`: send one of them", code="invalid_request"
        )
    if form.requests is not None:
        check_items(len(form.requests), envelope.tier)
        items = decode_items(form.requests, tier=envelope.tier)
    elif form.url is None and form.input is not None:
        source = source_of(form.input, tenant=envelope.tenant)
        check_items(source.count, envelope.tier)
        items = unread(source)
    else:
        items = decode_items([msgspec.Raw(payload)], tier=envelope.tier)
    return Job(
        id=envelope.id,
        tenant=envelope.tenant,
        model=envelope.model,
        tier=envelope.tier,
        sha256=hashlib.sha256(payload).hexdigest(),
        items=items,
        source=source,
        batch=envelope.batch,
        deadline=envelope.deadline,
        traceparent=envelope.traceparent,
    )


def decode_item(raw: bytes | msgspec.Raw, *, index: int, tier: Tier = Tier.BATCH) -> Item | BadItem:
    """Decode one request, an OpenAI Batch line. Never raises for what the bytes hold."""
    try:
        line = _decode(raw, _Line)
        body = _body(line)
        check_body(body, tier)
        return Item(index=index, custom_id=_custom_id(line.custom_id), body=body)
    except JobRejected as error:
        return BadItem(
            index=index,
            custom_id=_name_of(raw),
            error=WireError(code=error.code, message=str(error)),
        )


def encode_lines(lines: Iterable[ResultLine]) -> bytes:
    """Encode result lines as JSON Lines."""
    return b"\n".join(map(msgspec.json.encode, lines))


def decode_lines(payload: bytes) -> tuple[ResultLine, ...]:
    """Decode a message of the result log. Raises JobRejected if it is none of ours."""
    return tuple(_decode(line, ResultLine) for line in payload.splitlines() if line)


def decode_items(
    raws: Sequence[bytes | msgspec.Raw], *, tier: Tier = Tier.BATCH
) -> tuple[Item | BadItem, ...]:
    """Decode the requests of one job, in their order. Never raises for what the bytes hold."""
    seen: set[str] = set()
    items: list[Item | BadItem] = []
    for index, raw in enumerate(raws):
        item = decode_item(raw, index=index, tier=tier)
        if item.custom_id is not None and item.custom_id in seen and isinstance(item, Item):
            message = f"custom_id {shown(item.custom_id)} stands twice in this job: make it unique"
            item = BadItem(
                index=index,
                custom_id=item.custom_id,
                error=WireError(code="duplicate_custom_id", message=message),
            )
        if item.custom_id is not None:
            seen.add(item.custom_id)
        items.append(item)
    return tuple(items)


def _body(line: _Line) -> Body:
    if line.method != "POST":
        raise JobRejected(f"method {shown(line.method)} is not POST", code="invalid_method")
    if line.url not in _BODIES:
        raise JobRejected(
            f"url {shown(line.url)} is not served: use one of {', '.join(URLS)}", code="unknown_url"
        )
    return _decode(line.body, _BODIES[line.url], path="body")


def _custom_id(text: str | None) -> str | None:
    if text is None:
        return None
    if not 1 <= len(text) <= MAX_CUSTOM_ID or not text.isprintable():
        raise JobRejected(
            f"custom_id {shown(text)} is not 1 to {MAX_CUSTOM_ID} printable characters",
            code="invalid_custom_id",
        )
    return text


def _name_of(raw: bytes | msgspec.Raw) -> str | None:
    """Find the custom_id of a line that is bad otherwise, so that its error can be matched."""
    try:
        return _custom_id(_decode(raw, _Named).custom_id)
    except JobRejected:
        return None


def _deadline(text: str) -> float:
    try:
        when = msgspec.convert(text, datetime)
        # What leaves the calendar by its offset could be read, and never be written again.
        seconds = when.astimezone(UTC).timestamp() if when.tzinfo else None
    except (msgspec.ValidationError, OverflowError):
        seconds = None
    if seconds is None:
        raise JobRejected(
            f"{DEADLINE} {shown(text)} is not an RFC 3339 time such as 2027-01-31T12:00:00Z",
            code="invalid_deadline",
        )
    return seconds


def _decode(raw: bytes | msgspec.Raw, type_: type[T], *, path: str = "") -> T:
    try:
        return msgspec.json.decode(raw, type=type_)
    except RecursionError as error:
        raise JobRejected("the JSON is nested too deep", code="invalid_json") from error
    except UnicodeDecodeError as error:
        raise JobRejected(f"the text is not UTF-8: {error.reason}", code="invalid_json") from error
    except msgspec.ValidationError as error:
        where = f" in `{path}`" if path else ""
        # The message may quote a field's name, which is foreign.
        raise JobRejected(f"{plain(str(error))}{where}", code="invalid_request") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise JobRejected(f"not valid JSON: {error}", code="invalid_json") from error
