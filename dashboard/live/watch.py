"""A bucket, watched: each look reads what was written since the last one.

The broker keeps no state for it, and what is heard cannot get lost: after a reconnect, or where the
bucket may be another one, the next look begins anew.
"""

from typing import Final, Generic, Literal, TypeAlias, TypeVar

import msgspec

from dashboard.live.budget import Budget
from fleet.broker.connection import Connection
from fleet.broker.stored import Stored, messages
from fleet.topology import bucket_stream, bucket_subject

T = TypeVar("T")
# expired: nobody wrote it again in time. removed: somebody took it away.
End: TypeAlias = Literal["expired", "removed"]
_REASON: Final = "Nats-Marker-Reason"
_EXPIRED: Final = "MaxAge"
_OPERATION: Final = "KV-Operation"


class Change(msgspec.Struct, Generic[T], frozen=True):
    """A key that was written or ended. value: None for an end, and for what is none of ours."""

    key: str
    value: T | None
    at: float
    end: End | None = None


class Watch(Generic[T]):
    """Reads a bucket on. keys: those that are there, as far as was read."""

    def __init__(self, bucket: str, type_: type[T], budget: Budget) -> None:
        self._stream = bucket_stream(bucket)
        self._all = bucket_subject(bucket, ">")
        self._start = len(bucket_subject(bucket, ""))
        self._decoder = msgspec.json.Decoder(type_)
        self._budget = budget
        self._after = 0
        self._anew = True
        self.keys: set[str] = set()

    def restart(self) -> None:
        """Begin anew with the next look."""
        self._anew = True

    async def changes(self, connection: Connection) -> list[Change[T]]:
        """Read what changed since the last look. Raises BrokerRefused, BrokerUnreachable."""
        anew, after = self._anew, 0 if self._anew else self._after
        self._anew = False
        found: list[Change[T]] = []
        whole = False
        try:
            async for stored in messages(connection, self._stream, self._all, after=after):
                self._budget.took(stored.payload)
                after = stored.sequence
                found.append(self._change(stored))
            whole = True
        finally:
            # What broke off, for whatever reason, has read some and not the rest.
            self._anew = self._anew or not whole
        self._after = after
        if anew:
            seen = {change.key for change in found}
            found += [Change(key, None, 0.0, "expired") for key in self.keys - seen]
        for change in found:
            if change.value is None:
                self.keys.discard(change.key)
            else:
                self.keys.add(change.key)
        return found

    def _change(self, stored: Stored) -> Change[T]:
        key = stored.subject[self._start :]
        end = _end(stored)
        value: T | None = None
        if end is None:
            try:
                value = self._decoder.decode(stored.payload)
            except (msgspec.MsgspecError, ValueError, RecursionError):
                value = None
        return Change(key, value, stored.written_at, end)


def _end(stored: Stored) -> End | None:
    reason = stored.headers.get(_REASON)
    if reason is not None:
        return "expired" if reason == _EXPIRED else "removed"
    return "removed" if _OPERATION in stored.headers else None
