"""What a tenant may read of a stream, several messages at a time.

The server takes such a question in the body of a request, where no permission can look. So it is
looked at here, and only what asks for the tenant's own subjects is asked.
"""

from typing import Annotated, Final

import msgspec

from fleet.errors import JobRejected
from fleet.job import Tier
from fleet.subjects import BATCHES, RESULTS, TOKENS, job_stream, shown, token
from fleet.topology import bucket_stream, bucket_subject

MAX_BYTES: Final = 128 * 1024
MAX_SUBJECTS: Final = 1024
# A page as our own clients ask for it.
MAX_MESSAGES: Final = 256
_Subject = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class _Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A Direct Get, as far as tenants need it."""

    next_by_subj: _Subject | None = None
    multi_last: Annotated[tuple[_Subject, ...], msgspec.Meta(max_length=MAX_SUBJECTS)] = ()
    seq: Annotated[int, msgspec.Meta(ge=0)] = 0
    start_time: str | None = None
    batch: Annotated[int, msgspec.Meta(ge=0, le=MAX_MESSAGES)] = 0
    max_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0


def narrowed(stream: str, tenant: str, body: bytes) -> dict[str, object]:
    """Give the question to ask instead. Raises JobRejected for what is not the tenant's to ask."""
    token(tenant, what="tenant")
    own = _own(stream, tenant)
    if len(body) > MAX_BYTES:
        raise JobRejected(f"a read of {len(body)} bytes: ask for less", code="foreign_read")
    try:
        question = msgspec.json.decode(body, type=_Question)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise JobRejected(f"not a read of {stream}: {error}", code="foreign_read") from error
    asked = (*question.multi_last, *([question.next_by_subj] if question.next_by_subj else ()))
    if not asked:
        raise JobRejected(f"a read of {stream} has to name a subject", code="foreign_read")
    for subject in asked:
        if not _within(subject.split("."), own):
            raise JobRejected(
                f"{shown(subject)} is not tenant {tenant}'s to read: ask for {'.'.join(own)}",
                code="foreign_read",
            )
    asking: dict[str, object] = msgspec.to_builtins(question)
    return asking


def own_subjects(tenant: str) -> dict[str, str]:
    """Name what is a tenant's in each stream of which it may read several messages at once."""
    return {
        **{job_stream(tier): f"jobs.{tier}.*.{tenant}" for tier in Tier},
        RESULTS: f"results.{tenant}.>",
        TOKENS: f"tokens.{tenant}.>",
        bucket_stream(BATCHES): bucket_subject(BATCHES, f"{tenant}.>"),
    }


def _own(stream: str, tenant: str) -> tuple[str, ...]:
    """Name a tenant's subjects of a stream, as a pattern; its last part may stand for several."""
    patterns = own_subjects(tenant)
    if stream not in patterns:
        raise JobRejected(f"{shown(stream)} is no stream for tenants", code="foreign_read")
    return tuple(patterns[stream].split("."))


def _within(asked: list[str], own: tuple[str, ...]) -> bool:
    """Say whether all that a pattern stands for is within another one."""
    if own[-1] == ">":
        head = own[:-1]
        return len(asked) >= len(own) and _same(asked[: len(head)], head)
    return len(asked) == len(own) and asked[-1] != ">" and _same(asked, own)


def _same(asked: list[str], own: tuple[str, ...]) -> bool:
    return all(mine in {part, "*"} and part != ">" for part, mine in zip(asked, own, strict=True))
