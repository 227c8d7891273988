"""Direct reads: pages, gaps, and headers that pretend to be the server's."""

import pytest

from fleet.broker.connection import Connection
from fleet.broker.stored import last_message, messages
from fleet.errors import BrokerRefused

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
