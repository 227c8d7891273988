"""The client for producers, against a real broker and a consumer of a few lines."""

import asyncio
import json
from contextlib import aclosing

import pytest

from fleet.broker.connection import Connection
from fleet.broker.results import ResultLog
from fleet.errors import JobRejected
from fleet.job import Item, Job, ResultLine, Tier, TokenDelta
from fleet.live_answer import choices
from fleet.producer import Producer, Ticket, open_producer
from fleet.publish import GROUP_JOBS
from tests.integration.answering import answer_to, answering
from tests.integration.lossy import lose_answers

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


async def test_a_job_is_submitted_and_answered(provisioned: Connection, unique: str) -> None:
    producer = Producer(provisioned, tenant=unique)
    async with answering(provisioned, unique, tier=Tier.REALTIME):
        ticket = await producer.submit(chat("hi there"), model=unique)
        assert await answers(producer, ticket) == ["hi there"]
    assert (ticket.tenant, ticket.model, ticket.tier) == (unique, unique, Tier.REALTIME)
    assert ticket.sequence > 0


async def test_a_result_that_was_there_before_is_found(
    provisioned: Connection, unique: str
) -> None:
    producer = Producer(provisioned, tenant=unique)
    async with answering(provisioned, unique, tier=Tier.BACKGROUND, is_open=False):
        pass  # only its queues are wanted
    async with answering(provisioned, unique) as answerer:
        ticket = await producer.submit(chat("early"), model=unique, tier="batch")
        await answers(producer, ticket)
        assert await answers(producer, ticket) == ["early"]
        assert answerer.answered == [ticket.job]


async def test_results_are_in_the_order_of_the_items(provisioned: Connection, unique: str) -> None:
    producer = Producer(provisioned, tenant=unique)
    request = {"requests": [chat(f"item {n}") for n in range(5)]}
    async with answering(provisioned, unique, tier=Tier.REALTIME):
        ticket = await producer.submit(request, model=unique)
        assert await answers(producer, ticket) == [f"item {n}" for n in range(5)]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (chat("x", temprature=1), "invalid_request"),
        (b"{not json", "invalid_json"),
        ({"requests": []}, "invalid_request"),
        ({"requests": [chat("x"), {"url": "/v1/images", "body": {}}]}, "unknown_url"),
        (chat("x" * 600_000), "too_large"),
    ],
)
async def test_a_bad_request_is_refused_before_it_is_sent(
    provisioned: Connection, unique: str, request_: dict[str, object] | bytes, code: str
) -> None:
    producer = Producer(provisioned, tenant=unique)
    with pytest.raises(JobRejected) as caught:
        await producer.submit(request_, model=unique, tier="batch", job_id="bad")
    assert caught.value.code == code
    subject = "$JS.API.STREAM.INFO.JOBS_BATCH"
    info = await provisioned.request(
        subject, json.dumps({"subjects_filter": f"jobs.*.{unique}.>"}).encode()
    )
    assert "subjects" not in json.loads(info.payload)["state"]


async def test_a_tier_that_is_none_is_refused(provisioned: Connection, unique: str) -> None:
    with pytest.raises(JobRejected, match="tier 'fast' does not exist: use realtime") as caught:
        await Producer(provisioned, tenant=unique).submit(chat("x"), model=unique, tier="fast")
    assert caught.value.code == "unknown_tier"


@pytest.mark.parametrize("name", ["a.b", "*", "", "x" * 65, "a b", "é"])
async def test_a_bad_id_is_refused(provisioned: Connection, unique: str, name: str) -> None:
    producer = Producer(provisioned, tenant=unique)
    with pytest.raises(JobRejected):
        await producer.submit(chat("x"), model=unique, batch=name or "*", job_id="ok")


async def test_the_same_id_is_the_same_job(provisioned: Connection, unique: str) -> None:
    producer = Producer(provisioned, tenant=unique)
    async with answering(provisioned, unique) as answerer:
        for _ in range(3):
            ticket = await producer.submit(chat("once"), model=unique, tier="batch", job_id="again")
            assert await answers(producer, ticket) == ["once"]
    assert answerer.answered == ["again"]


async def test_an_id_that_has_other_content_is_refused(
    provisioned: Connection, unique: str
) -> None:
    producer = Producer(provisioned, tenant=unique)
    async with answering(provisioned, unique):
        first = await producer.submit(chat("first"), model=unique, tier="batch", job_id="mine")
        await answers(producer, first)
        second = await producer.submit(chat("second"), model=unique, tier="batch", job_id="mine")
        with pytest.raises(JobRejected, match="other content"):
            await answers(producer, second)


async def test_a_lost_confirmation_makes_no_second_answer(
    provisioned: Connection, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = Producer(provisioned, tenant=unique)
    async with answering(provisioned, unique, is_open=False) as answerer:
        lose_answers(provisioned, monkeypatch, times=2)
        ticket = await producer.submit(chat("sent thrice"), model=unique, tier="batch")
        monkeypatch.undo()
        answerer.gate.set()
        assert await answers(producer, ticket) == ["sent thrice"]
    assert answerer.answered == [ticket.job]
    state = await ResultLog(provisioned).read(unique, None, ticket.job)
    assert len(state.lines) == 1


async def test_many_jobs_keep_their_order(provisioned: Connection, unique: str) -> None:
    producer = Producer(provisioned, tenant=unique)
    texts = [f"job {n}" for n in range(GROUP_JOBS + 1)]
    async with answering(provisioned, unique):
        tickets = await producer.submit_many(map(chat, texts), model=unique)
        sequences = [ticket.sequence for ticket in tickets]
        assert sequences == sorted(sequences)
        assert len(set(sequences)) == len(texts)
        assert [await answers(producer, ticket) for ticket in tickets] == [[t] for t in texts]


async def test_of_many_jobs_none_is_sent_if_one_is_bad(
    provisioned: Connection, unique: str
) -> None:
    producer = Producer(provisioned, tenant=unique)
    async with answering(provisioned, unique) as answerer:
        with pytest.raises(JobRejected):
            await producer.submit_many([chat("good"), chat("bad", n=0)], model=unique)
        ticket = await producer.submit(chat("after"), model=unique, tier="batch")
        await answers(producer, ticket)
        assert answerer.answered == [ticket.job]


async def test_an_item_that_fails_does_not_hurt_its_neighbours(
    provisioned: Connection, unique: str
) -> None:
    producer = Producer(provisioned, tenant=unique)

    def lines(job: Job) -> list[ResultLine]:
        return [answer_to(job, item) for item in job.items if isinstance(item, Item)]

    request = {"requests": [chat("fine"), chat("please fail"), chat("fine too")]}
    async with answering(provisioned, unique, lines=lines):
        ticket = await producer.submit(request, model=unique, tier="batch")
        assert await answers(producer, ticket) == ["fine", "fine too"]


async def test_a_producer_opens_its_own_connection(
    nats_url: str, provisioned: Connection, unique: str
) -> None:
    async with answering(provisioned, unique), open_producer(nats_url, tenant=unique) as producer:
        ticket = await producer.submit(chat("hello"), model=unique, tier="batch")
        assert await answers(producer, ticket) == ["hello"]
