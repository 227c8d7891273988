"""A connection whose answers get lost on the way back."""

from typing import Any

import pytest

from fleet.broker.connection import Connection, Receipt
from fleet.errors import BrokerUnreachable


def lose_answers(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, *, times: int, stored: bool = True
) -> None:
    """Let the next `times` appends time out, after the message was stored or before."""
    real = connection.append
    left = times

    async def append(*args: Any, **kwargs: Any) -> Receipt:
        nonlocal left
        if left == 0:
            return await real(*args, **kwargs)
        left -= 1
        if stored:
            await real(*args, **kwargs)
        raise BrokerUnreachable("the answer got lost: try again")

    monkeypatch.setattr(connection, "append", append)
