"""The token stream: guarded, told once it is stored, and never confused by what others publish."""

import asyncio

import pytest

from fleet.broker.connection import Connection
from fleet.broker.tokens import Teller, TokenMessage, TokenStream
from fleet.errors import BrokerUnreachable, LeaseLost
from fleet.job import TokenDelta
from fleet.subjects import tokens_subject
from tests.integration.lossy import lose_answers

SOON_S = 30.0


def a_delta(offset: int) -> TokenDelta:
    return TokenDelta(item=0, offset=offset, text=f"t{offset}", token_ids=(offset,))


class Reader:
    """Listens to one job's stream."""

    def __init__(self, connection: Connection, job: str) -> None:
        self._news: asyncio.Queue[TokenMessage] = asyncio.Queue()
        self.listens = TokenStream(connection).listen("acme", None, job, self._news.put_nowait)

    async def take(self, count: int) -> list[TokenMessage]:
        async with asyncio.timeout(SOON_S):
            return [await self._news.get() for _ in range(count)]

    @property
    def is_quiet(self) -> bool:
        return self._news.empty()


def teller(connection: Connection, job: str, writer: str) -> Teller:
    return TokenStream(connection).teller("acme", None, job, writer=writer)


async def stored(connection: Connection, job: str) -> list[TokenDelta]:
    said = await TokenStream(connection).read("acme", None, job)
    return [message.delta for message in said if message.delta]


async def test_a_listener_hears_deltas_in_order_and_each_names_the_one_before(
    provisioned: Connection, unique: str
) -> None:
    reader, mine = Reader(provisioned, unique), teller(provisioned, unique, "w")
    async with reader.listens:
        for offset in range(3):
            await mine.tell(a_delta(offset))
        first, second, third = heard = await reader.take(3)
    assert [message.delta for message in heard] == [a_delta(offset) for offset in range(3)]
    assert {message.writer for message in heard} == {"w"}
    assert (first.previous, second.previous) == (0, first.sequence)
    assert third.previous == second.sequence
    assert await stored(provisioned, unique) == [a_delta(offset) for offset in range(3)]


async def test_a_former_owner_is_neither_stored_nor_heard(
    provisioned: Connection, unique: str
) -> None:
    old, new = teller(provisioned, unique, "old"), teller(provisioned, unique, "new")
    reader = Reader(provisioned, unique)
    await old.tell(a_delta(0))
    async with reader.listens:
        said = await new.take_over(node="n2")
        for _ in range(2):
            with pytest.raises(LeaseLost, match="say nothing more"):
                await old.tell(a_delta(1))
        await new.tell(a_delta(2))
        record, delta = await reader.take(2)
        # One round trip, in which anything else would have come.
        await stored(provisioned, unique)
        assert reader.is_quiet
    assert [message.delta for message in said] == [a_delta(0)]
    assert (record.delta, record.writer) == (None, "new")
    assert (delta.delta, delta.previous) == (a_delta(2), record.sequence)
    assert await stored(provisioned, unique) == [a_delta(0), a_delta(2)]


async def test_who_begins_where_another_one_tells_is_refused(
    provisioned: Connection, unique: str
) -> None:
    await teller(provisioned, unique, "first").tell(a_delta(0))
    with pytest.raises(LeaseLost):
        await teller(provisioned, unique, "second").tell(a_delta(0))


async def test_a_take_over_hears_what_is_said_in_between(
    provisioned: Connection, unique: str
) -> None:
    old, new = teller(provisioned, unique, "old"), teller(provisioned, unique, "new")

    async def talk() -> None:
        with pytest.raises(LeaseLost):
            for offset in range(10_000):
                await old.tell(a_delta(offset))

    async with asyncio.timeout(SOON_S), asyncio.TaskGroup() as group:
        group.create_task(talk())
        while not await stored(provisioned, unique):
            pass
        said = await new.take_over(node="n2")
    assert [message.delta for message in said] == await stored(provisioned, unique)


@pytest.mark.parametrize("is_stored", [True, False])
async def test_a_lost_answer_is_no_loss_of_the_stream(
    provisioned: Connection, unique: str, monkeypatch: pytest.MonkeyPatch, is_stored: bool
) -> None:
    mine = teller(provisioned, unique, "w")
    await mine.tell(a_delta(0))
    lose_answers(provisioned, monkeypatch, times=1, stored=is_stored)
    with pytest.raises(BrokerUnreachable):
        await mine.tell(a_delta(1))
    await mine.tell(a_delta(1))
    await mine.tell(a_delta(2))
    twice = [a_delta(1)] if is_stored else []
    assert await stored(provisioned, unique) == [a_delta(0), *twice, a_delta(1), a_delta(2)]


async def test_garbage_is_nobodys_word_and_stops_nobody(
    provisioned: Connection, unique: str
) -> None:
    reader, mine = Reader(provisioned, unique), teller(provisioned, unique, "w")
    await mine.tell(a_delta(0))
    async with reader.listens:
        for payload in (b"", b"\xff", b"[" * 9999, b'{"item":"x"}'):
            await provisioned.append(f"tell.acme._.{unique}", payload)
            await provisioned.publish(f"tokens.acme._.{unique}", payload)
        await mine.tell(a_delta(1))
        heard = await reader.take(5)
    assert [message.delta for message in heard] == [None] * 4 + [a_delta(1)]
    assert await stored(provisioned, unique) == [a_delta(0), a_delta(1)]
    assert await TokenStream(provisioned).read("acme", "other-batch", unique) == []


async def test_an_answer_goes_on_behind_deltas_that_are_too_old_to_be_kept(
    provisioned: Connection, unique: str
) -> None:
    mine = teller(provisioned, unique, "w")
    await mine.tell(a_delta(0))
    subject = f"tokens.acme._.{unique}"
    await provisioned.api("STREAM.PURGE.TOKENS", {"filter": subject})
    await mine.tell(a_delta(1))
    assert await stored(provisioned, unique) == [a_delta(1)]


async def test_numbers_that_no_stream_has_end_no_listener(
    provisioned: Connection, unique: str
) -> None:
    reader, mine = Reader(provisioned, unique), teller(provisioned, unique, "w")
    endless = {"Nats-Sequence": "9" * 5000, "Nats-Last-Sequence": "0"}
    async with reader.listens:
        await provisioned.publish(tokens_subject("acme", None, unique), b"{}", headers=endless)
        await mine.tell(a_delta(0))
        (heard,) = await reader.take(1)
    assert heard.delta == a_delta(0)
