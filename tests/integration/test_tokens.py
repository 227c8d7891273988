"""The token stream: live, kept for a while, and never confused by what others publish."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from fleet.broker.connection import Connection
from fleet.broker.tokens import BUFFER, TokenStream
from fleet.job import TokenDelta
from tests.integration.brokers import connected

SOON_S = 5.0


def a_delta(offset: int) -> TokenDelta:
    return TokenDelta(item=0, offset=offset, text=f"t{offset}", token_ids=(offset,))


@pytest.fixture
def tokens(provisioned: Connection) -> TokenStream:
    return TokenStream(provisioned)


async def take(deltas: AsyncIterator[TokenDelta], count: int) -> list[TokenDelta]:
    async with asyncio.timeout(SOON_S):
        return [await anext(deltas) for _ in range(count)]


async def test_a_subscriber_sees_deltas_in_order(tokens: TokenStream, unique: str) -> None:
    async with tokens.subscribe("acme", None, unique) as deltas:
        for offset in range(3):
            await tokens.publish("acme", None, unique, a_delta(offset))
        assert await take(deltas, 3) == [a_delta(offset) for offset in range(3)]


async def test_malformed_deltas_are_left_out(
    tokens: TokenStream, provisioned: Connection, unique: str
) -> None:
    async with tokens.subscribe("acme", None, unique) as deltas:
        for payload in (b"", b"\xff", b"[" * 9999, b'{"item":"x"}'):
            await provisioned.publish(f"tokens.acme._.{unique}", payload)
        await tokens.publish("acme", None, unique, a_delta(0))
        assert await take(deltas, 1) == [a_delta(0)]


async def test_a_reader_that_falls_behind_loses_the_oldest_and_no_memory(
    tokens: TokenStream, nats_url: str, unique: str
) -> None:
    async with (
        connected(nats_url) as other,
        tokens.subscribe("acme", None, unique) as deltas,
        TokenStream(other).subscribe("acme", None, unique) as witness,
    ):
        # One round trip, so that the server knows of the witness before we publish elsewhere.
        await TokenStream(other).read("acme", None, unique)
        for offset in range(BUFFER + 10):
            await tokens.publish("acme", None, unique, a_delta(offset))
            await take(witness, 1)
        # Our own copies left the server before the witness's; one round trip brings them in.
        await tokens.read("acme", None, unique)
        assert await take(deltas, 1) == [a_delta(10)]


async def test_what_was_said_can_be_read_later(tokens: TokenStream, unique: str) -> None:
    async with tokens.subscribe("acme", None, unique) as deltas:
        for offset in range(2):
            await tokens.publish("acme", None, unique, a_delta(offset))
        await take(deltas, 2)
    assert await tokens.read("acme", None, unique) == [a_delta(0), a_delta(1)]
    assert await tokens.read("acme", "other-batch", unique) == []
