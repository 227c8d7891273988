"""Following live answers, against a real broker and a consumer of a few lines."""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, ExitStack, aclosing
from itertools import count
from pathlib import Path

import pytest

from fleet.broker.connection import Connection
from fleet.broker.log_state import LogState
from fleet.broker.provision import provision
from fleet.broker.results import ResultLog
from fleet.broker.tokens import TokenMessage, TokenStream
from fleet.errors import BrokerRefused, JobFailed, UsageError
from fleet.job import Tier, TokenDelta
from fleet.live_answer import choices
from fleet.producer import Producer, Ticket
from tests.asking import eventually
from tests.integration.answering import answering
from tests.integration.brokers import connected
from tests.server import nats_server

BOUND_S = 60.0


def chat(text: str, **body: object) -> dict[str, object]:
    messages = [{"role": "user", "content": text}]
    return {"url": "/v1/chat/completions", "body": {"messages": messages, **body}}


async def answers(producer: Producer, ticket: Ticket) -> list[str]:
    async with asyncio.timeout(BOUND_S):
        lines = await producer.result(ticket)
    return [choice.text for line in lines for choice in choices(line)]


async def streamed(producer: Producer, ticket: Ticket) -> list[TokenDelta]:
    async with asyncio.timeout(BOUND_S), aclosing(producer.stream(ticket)) as deltas:
        return [delta async for delta in deltas]


async def tell(connection: Connection, ticket: Ticket, delta: TokenDelta) -> None:
    """Tell a delta as a consumer of its own."""
    stream, where = TokenStream(connection), (ticket.tenant, ticket.batch, ticket.job)
    teller = stream.teller(*where, writer=secrets.token_hex(4))
    await teller.take_over(node="n")
    await teller.tell(delta)


async def test_a_live_answer_has_every_character_once_and_ends(
    provisioned: Connection, unique: str
) -> None:
    producer = Producer(provisioned, tenant=unique)
    async with answering(provisioned, unique, tier=Tier.REALTIME, is_open=False) as answerer:
        ticket = await producer.submit(chat("every word of it"), model=unique)
        reading = asyncio.timeout(BOUND_S)
        text = ""
        async with reading, aclosing(producer.stream(ticket)) as deltas:
            answerer.gate.set()
            async for delta in deltas:
                assert delta.text_offset == len(text)
                text += delta.text
    assert text == "every word of it"


async def test_a_stream_that_is_opened_late_is_whole(provisioned: Connection, unique: str) -> None:
    producer = Producer(provisioned, tenant=unique)
    async with answering(provisioned, unique, tier=Tier.REALTIME):
        ticket = await producer.submit(chat("late reader"), model=unique)
        await answers(producer, ticket)
        deltas = await streamed(producer, ticket)
    assert "".join(delta.text for delta in deltas) == "late reader"
    assert deltas[0].token_ids == (0, 1, 2, 3)


async def test_an_answer_without_a_live_stream_comes_from_its_result(
    provisioned: Connection, unique: str
) -> None:
    producer = Producer(provisioned, tenant=unique)
    async with answering(provisioned, unique):
        ticket = await producer.submit(chat("quiet"), model=unique, tier="batch")
        (delta,) = await streamed(producer, ticket)
    assert (delta.text, delta.finish_reason, delta.token_ids) == ("quiet", "stop", ())


async def test_a_resumed_answer_repeats_nothing(provisioned: Connection, unique: str) -> None:
    producer = Producer(provisioned, tenant=unique)

    def delta(offset: int, text: str, start: int) -> TokenDelta:
        ids = tuple(range(offset, offset + len(text.split())))
        return TokenDelta(item=0, offset=offset, text=text, text_offset=start, token_ids=ids)

    async with answering(provisioned, unique, tier=Tier.REALTIME, is_open=False) as answerer:
        ticket = await producer.submit(chat("one two three four "), model=unique)
        # The first consumer told two tokens and died; the second tells it all again.
        await tell(provisioned, ticket, delta(0, "one two ", 0))
        async with asyncio.timeout(BOUND_S), aclosing(producer.stream(ticket)) as deltas:
            assert (await anext(deltas)).text == "one two "
            answerer.gate.set()
            rest = [delta.text async for delta in deltas]
    assert "".join(rest) == "three four "


async def test_an_answer_that_came_out_otherwise_is_said(
    provisioned: Connection, unique: str
) -> None:
    producer = Producer(provisioned, tenant=unique)
    other = TokenDelta(item=0, offset=0, text="a rumour", token_ids=(1,))
    async with answering(provisioned, unique, tier=Tier.REALTIME, is_open=False) as answerer:
        ticket = await producer.submit(chat("the facts"), model=unique)
        await tell(provisioned, ticket, other)
        reading = asyncio.timeout(BOUND_S)
        async with reading, aclosing(producer.stream(ticket)) as deltas:
            assert (await anext(deltas)).text == "a rumour"
            answerer.gate.set()
            with pytest.raises(JobFailed, match="from its beginning") as failed:
                await anext(deltas)
        assert failed.value.code == "answer_restarted"
        assert "".join(delta.text for delta in await streamed(producer, ticket)) == "the facts"
        assert await answers(producer, ticket) == ["the facts"]


async def test_a_reader_that_comes_back_gets_the_rest(provisioned: Connection, unique: str) -> None:
    producer = Producer(provisioned, tenant=unique)
    async with answering(provisioned, unique, tier=Tier.REALTIME):
        ticket = await producer.submit(chat("every word of it"), model=unique)
        await answers(producer, ticket)
        for offset in (0, 6, len("every word of it")):
            follow = producer.follow(ticket.job, from_offset=offset)
            async with asyncio.timeout(BOUND_S), aclosing(follow) as deltas:
                rest = "".join([delta.text async for delta in deltas])
            assert rest == "every word of it"[offset:]
        with pytest.raises(UsageError, match="16 characters"):
            async with asyncio.timeout(BOUND_S):
                await anext(producer.follow(ticket.job, from_offset=17))


async def test_what_gets_lost_on_the_way_is_read_from_the_stream(
    provisioned: Connection, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, numbers = TokenStream.listen, count()

    def lossy(
        stream: TokenStream,
        tenant: str,
        batch: str | None,
        job: str,
        receive: Callable[[TokenMessage], None],
    ) -> AbstractAsyncContextManager[None]:
        def sometimes(message: TokenMessage) -> None:
            if next(numbers) % 3 == 2:
                receive(message)

        return real(stream, tenant, batch, job, sometimes)

    monkeypatch.setattr(TokenStream, "listen", lossy)
    producer, text = Producer(provisioned, tenant=unique), "a b c d e f g h i j k l "
    async with answering(provisioned, unique, tier=Tier.REALTIME, is_open=False) as answerer:
        ticket = await producer.submit(chat(text), model=unique)
        where = (ticket.tenant, ticket.batch, ticket.job)
        teller = TokenStream(provisioned).teller(*where, writer="w")
        heard: list[TokenDelta] = []
        async with asyncio.timeout(BOUND_S), aclosing(producer.stream(ticket)) as deltas:
            for number in range(12):
                await teller.tell(
                    TokenDelta(
                        item=0, offset=number, text=text[2 * number : 2 * number + 2],
                        text_offset=2 * number, token_ids=(number,),
                    )
                )  # fmt: skip
                if number % 3 == 2:
                    heard.append(await anext(deltas))
            answerer.gate.set()
            heard += [delta async for delta in deltas]
    assert "".join(delta.text for delta in heard) == text
    assert [number for delta in heard for number in delta.token_ids] == list(range(12))


async def test_a_wait_outlives_a_restart_of_the_broker(tmp_path: Path, unique: str) -> None:
    with nats_server(tmp_path) as server:
        port = server.port
        async with connected(server.url) as connection:
            await provision(connection, [unique])
    with ExitStack() as servers:
        servers.enter_context(nats_server(tmp_path, port=port))
        url = f"nats://127.0.0.1:{port}"
        async with connected(url) as connection, asyncio.TaskGroup() as group:
            producer = Producer(connection, tenant=unique)
            ticket = await producer.submit(chat("still there"), model=unique)
            answer = group.create_task(answers(producer, ticket))
            text = group.create_task(streamed(producer, ticket))
            # One round trip, in which both get to wait.
            await ResultLog(connection).read(unique, None, ticket.job)
            servers.close()
            servers.enter_context(nats_server(tmp_path, port=port))
            await connection.up()
            async with (
                connected(url) as other,
                answering(other, unique, tier=Tier.REALTIME),
            ):
                assert await answer == ["still there"]
                assert "".join(delta.text for delta in await text) == "still there"


def refuse(monkeypatch: pytest.MonkeyPatch, *, times: int) -> list[str]:
    """Let the result log be refused, as by a broker that has just come back; tell of each time."""
    real, refused = ResultLog.read, list[str]()

    async def read(log: ResultLog, tenant: str, batch: str | None, job: str) -> LogState:
        if len(refused) < times:
            refused.append(job)
            raise BrokerRefused("stream RESULTS does not exist or is down")
        return await real(log, tenant, batch, job)

    monkeypatch.setattr(ResultLog, "read", read)
    monkeypatch.setattr("fleet.follow.RECHECK_S", 0.05)
    return refused


async def test_a_broker_that_comes_back_and_refuses_at_first_ends_no_wait(
    provisioned: Connection, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = Producer(provisioned, tenant=unique)
    ticket = await producer.submit(chat("patient"), model=unique)
    refused = refuse(monkeypatch, times=3)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(answers(producer, ticket))

        async def borne() -> bool:
            return len(refused) == 3

        await eventually(borne, "the third refusal")
        async with answering(provisioned, unique, tier=Tier.REALTIME):
            assert await waiting == ["patient"]


async def test_a_broker_that_goes_on_refusing_is_believed(
    provisioned: Connection, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = Producer(provisioned, tenant=unique)
    monkeypatch.setattr("fleet.follow.REFUSED_S", 0.2)
    ticket = await producer.submit(chat("impatient"), model=unique)
    refuse(monkeypatch, times=10_000)
    with pytest.raises(BrokerRefused, match="RESULTS"):
        await answers(producer, ticket)
