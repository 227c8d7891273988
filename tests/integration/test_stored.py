"""Direct reads: pages, gaps, and headers that pretend to be the server's."""

import asyncio

import pytest

from fleet.broker.connection import Connection, Message
from fleet.broker.latest import Latest
from fleet.broker.stored import Stored, last_message, last_messages, messages
from fleet.errors import BrokerRefused, BrokerUnreachable, UsageError

FORGED = {
    "Nats-Sequence": "1",
    "Nats-Subject": "results.other._.job",
    "Nats-Last-Sequence": "77",
    "Nats-Num-Pending": "5",
    "Nats-Time-Stamp": "2001-01-01T00:00:00Z",
    "Status": "404",
    "Description": "gone",
}


async def test_stored_headers_cannot_pretend_to_be_the_servers(
    provisioned: Connection, unique: str
) -> None:
    subject = f"results.acme._.{unique}"
    receipt = await provisioned.append(subject, b"true", headers=FORGED)
    last = await last_message(provisioned, "RESULTS", subject)
    (paged,) = [message async for message in messages(provisioned, "RESULTS", subject)]
    for stored in (last, paged):
        assert stored is not None
        assert (stored.subject, stored.sequence) == (subject, receipt.sequence)
        assert stored.written_at > 1_700_000_000
        assert stored.payload == b"true"


async def test_large_messages_come_in_several_pages(provisioned: Connection, unique: str) -> None:
    subject = f"results.acme._.{unique}"
    for number in range(12):
        await provisioned.append(subject, bytes([number]) * 900_000)
    read = [message.payload[0] async for message in messages(provisioned, "RESULTS", subject)]
    assert read == list(range(12))


async def test_nothing_behind_the_last_is_an_empty_read(
    provisioned: Connection, unique: str
) -> None:
    subject = f"results.acme._.{unique}"
    receipt = await provisioned.append(subject, b"x")
    after = receipt.sequence
    assert [m async for m in messages(provisioned, "RESULTS", subject, after=after)] == []


async def test_a_stream_that_is_missing_is_named_with_the_remedy(provisioned: Connection) -> None:
    with pytest.raises(BrokerRefused, match=r"NOWHERE.*fleet init"):
        _ = [message async for message in messages(provisioned, "NOWHERE", "x")]
    with pytest.raises(BrokerRefused):
        await last_message(provisioned, "NOWHERE", "x")


async def test_the_newest_of_many_subjects_come_together_and_missing_ones_are_left_out(
    provisioned: Connection, unique: str
) -> None:
    subjects = [f"results.acme._.{unique}-{number}" for number in range(12)]
    for subject in subjects:
        await provisioned.append(subject, b"old")
        await provisioned.append(subject, subject.encode() + b" " * 900_000)
    found = await last_messages(provisioned, "RESULTS", [*subjects, f"{subjects[0]}-none"])
    assert {s: m.payload.strip().decode() for s, m in found.items()} == {s: s for s in subjects}


async def test_lookups_at_the_same_time_get_each_their_own_answer(
    provisioned: Connection, unique: str
) -> None:
    latest = Latest(provisioned, "RESULTS")
    there = [f"results.acme._.{unique}-{number}" for number in range(0, 200, 2)]
    for subject in there:
        await provisioned.append(subject, subject.encode())
    wanted = [f"results.acme._.{unique}-{number}" for number in range(200)] + there[:3]
    answers: list[Stored | None] = await asyncio.gather(*map(latest.of, wanted))  # noqa: TID251
    known = set(there)
    assert [a and a.payload.decode() for a in answers] == [
        s if s in known else None for s in wanted
    ]


async def test_a_lookup_that_is_cancelled_does_not_take_the_others_along(
    provisioned: Connection, unique: str
) -> None:
    latest = Latest(provisioned, "RESULTS")
    subject = f"results.acme._.{unique}"
    await provisioned.append(subject, b"x")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(latest.of(subject)) for _ in range(30)]
        await asyncio.sleep(0)  # the first is on its way, and takes all others along or none
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[1].cancel()
    assert all(task.result() for task in tasks[2:])


async def test_what_one_lookup_must_not_ask_for_hurts_no_other(
    provisioned: Connection, unique: str
) -> None:
    latest = Latest(provisioned, "RESULTS")
    subject = f"results.acme._.{unique}"
    await provisioned.append(subject, b"x")
    with pytest.raises(UsageError, match="wildcard"):
        await latest.of("results.acme._.*")
    assert await latest.of(subject)
    with pytest.raises(BrokerRefused, match="fleet init"):
        await Latest(provisioned, "NOWHERE").of("x")


STRANGE = [
    {"Nats-Sequence": "x"},
    {"Nats-Sequence": "9" * 5000, "Nats-Last-Sequence": "0"},
    {"Nats-Sequence": "1", "Nats-Last-Sequence": "0"},
    {
        "Nats-Sequence": "1",
        "Nats-Last-Sequence": "0",
        "Nats-Subject": "a",
        "Nats-Time-Stamp": "now",
    },
]


@pytest.mark.parametrize("headers", STRANGE)
async def test_what_answers_in_a_streams_place_is_no_stream(
    provisioned: Connection, unique: str, headers: dict[str, str]
) -> None:
    stream = f"NONE_{unique}"
    async with asyncio.TaskGroup() as group:

        def answer(question: Message) -> None:
            group.create_task(provisioned.publish(question.reply, b"x", headers=headers))

        await provisioned.subscribe(f"$JS.API.DIRECT.GET.{stream}.>", answer)
        await provisioned.subscribe(f"$JS.API.DIRECT.GET.{stream}", answer)
        with pytest.raises(BrokerRefused, match="is no stream"):
            await last_message(provisioned, stream, "a")
        with pytest.raises((BrokerRefused, BrokerUnreachable)):
            await anext(messages(provisioned, stream, "a"))
