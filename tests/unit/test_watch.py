"""A bucket that is read on, look by look."""

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from dashboard.live import watch as module
from dashboard.live.budget import Budget
from dashboard.live.watch import Watch
from fleet.broker.connection import Connection
from fleet.broker.stored import Stored
from fleet.errors import BrokerUnreachable
from fleet.topology import bucket_subject

NOBODY = cast("Connection", None)


async def test_a_look_that_broke_off_while_it_began_anew_begins_anew_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there, breaks = ["a", "b"], False

    async def messages(*_: object, after: int) -> AsyncIterator[Stored]:
        for sequence, key in enumerate(there, 1):
            if breaks:
                raise BrokerUnreachable("gone in the middle: try again")
            if sequence > after:
                yield Stored(
                    subject=bucket_subject("nodes", key), sequence=sequence, written_at=0.0,
                    headers={}, payload=b"1",
                )  # fmt: skip

    monkeypatch.setattr(module, "messages", messages)
    watch: Watch[Any] = Watch("nodes", int, Budget())
    assert [one.key for one in await watch.changes(NOBODY)] == ["a", "b"]
    # Another broker under the same address: what it has not is gone.
    watch.restart()
    there, breaks = ["c"], True
    with pytest.raises(BrokerUnreachable):
        await watch.changes(NOBODY)
    breaks = False
    changes = {one.key: one.end for one in await watch.changes(NOBODY)}
    assert changes == {"c": None, "a": "expired", "b": "expired"}
