"""What JetStream answers: receipts, objects and refusals."""

from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from fleet.errors import BrokerRefused
from fleet.subjects import shown

T = TypeVar("T")

# The limits of a stream or subject, and those of the server's disk.
_FULL: Final = frozenset({10077, 10023})


class ApiError(BrokerRefused):
    """JetStream said no. err_code: its number for the cause; code: like HTTP's."""

    def __init__(self, message: str, err_code: int | None = None, code: int | None = None) -> None:
        super().__init__(message)
        self.err_code = err_code
        self.code = code


class NobodyListens(BrokerRefused):
    """A request found nobody who serves its subject."""


class Receipt(NamedTuple):
    """Where a message was stored. duplicate: its id was there already, and nothing was written."""

    stream: str
    sequence: int
    duplicate: bool


class _Error(msgspec.Struct, frozen=True):
    code: int | None = None
    err_code: int | None = None
    description: str = "no reason given"


class _PubAck(msgspec.Struct, frozen=True):
    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: _Error | None = None


def read_receipt(subject: str, payload: bytes) -> Receipt:
    """Decode the answer to a message on `subject`. Raises ApiError, BrokerRefused."""
    answer = _decode(subject, payload, _PubAck)
    if answer.error is not None:
        raise _refused(subject, answer.error)
    if not answer.stream or not answer.seq:
        raise BrokerRefused(
            f"what answers on {shown(subject)} is no stream: run `fleet doctor` to see what is"
        )
    return Receipt(answer.stream, answer.seq, answer.duplicate)


def read_answer(name: str, payload: bytes) -> dict[str, Any]:
    """Decode the answer of the API called `name`. Raises ApiError, BrokerRefused."""
    answer = _decode(name, payload, dict[str, Any])
    if "error" in answer:
        raise _refused(name, read_part(name, answer["error"], _Error))
    return answer


def read_part(name: str, part: object, type_: type[T]) -> T:
    """Read a part of such an answer as a struct. Raises BrokerRefused for another shape."""
    try:
        return msgspec.convert(part, type_)
    except msgspec.ValidationError as error:
        raise _not_ours(name, error) from error


def nobody_listens(subject: str) -> NobodyListens:
    """Say what it means that a request found no listener."""
    if subject.startswith("$JS."):
        return NobodyListens(
            f"JetStream does not answer on {shown(subject)}: it is off or still starting, or the "
            "stream or durable is missing; run `fleet init`, and `fleet doctor` to see what is"
        )
    return NobodyListens(
        f"nothing listens on {shown(subject)}: start what serves it, or correct the subject"
    )


def no_stream_takes(subject: str) -> BrokerRefused:
    """Say what it means that a message found no stream."""
    return BrokerRefused(
        f"no stream takes {shown(subject)} now: try again if a server was just lost, else check "
        "tier, model and tenant, or run `fleet init`"
    )


def _refused(subject: str, error: _Error) -> ApiError:
    if error.err_code in _FULL:
        text = (
            f"queue full: {shown(subject)} takes no more now ({error.description}); wait until it "
            "has drained, then send again"
        )
    else:
        text = f"{shown(subject)} was refused: {error.description} (error {error.err_code})"
    return ApiError(text, error.err_code, error.code)


def _decode(subject: str, payload: bytes, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(payload, type=type_)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _not_ours(subject, error) from error


def _not_ours(subject: str, error: Exception) -> BrokerRefused:
    return BrokerRefused(
        f"the answer on {shown(subject)} is not JetStream's ({error}): check the subject, and who "
        "else listens on it"
    )
