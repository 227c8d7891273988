"""Whose write it was, where the server and what is stored do not agree."""

import json
from collections.abc import Mapping
from typing import Any, cast

import pytest

from fleet.broker.connection import ApiError, Connection, Message, Receipt
from fleet.broker.fenced import TRIES, append_after
from fleet.errors import BrokerUnreachable, LeaseLost


class Cluster:
    """Refuses every guarded write; a read of it shows what its replica has by then."""

    def __init__(self, *sequences: int) -> None:
        self._sequences = list(sequences)

    async def append(self, *_: object, **__: object) -> Receipt:
        raise ApiError("wrong last sequence", 10071)

    async def request(self, *_: object) -> Message:
        sequence = self._sequences.pop(0)
        headers: Mapping[str, Any] = {
            "Nats-Subject": "a",
            "Nats-Sequence": str(sequence),
            "Nats-Time-Stamp": "2026-11-26T00:00:00Z",
        }
        return Message("_INBOX", "", dict(headers), json.dumps("other").encode())


async def write_behind(last: int, cluster: Cluster) -> int:
    connection = cast("Connection", cluster)
    return await append_after(connection, "S", "a", b"mine", headers={}, last=last)


async def test_a_replica_that_lags_behind_does_not_make_a_job_lost() -> None:
    with pytest.raises(BrokerUnreachable, match="not to be seen"):
        await write_behind(5, Cluster(*[5] * TRIES))


async def test_a_job_is_lost_once_another_write_is_seen() -> None:
    with pytest.raises(LeaseLost):
        await write_behind(5, Cluster(5, 6))
