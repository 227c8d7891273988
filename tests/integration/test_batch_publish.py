"""Atomic batches: all of it or nothing of it."""

from typing import Any

import pytest

from fleet.broker.batch_publish import MAX_MESSAGES, Outgoing, publish_batch
from fleet.broker.connection import ApiError, Connection
from fleet.broker.stored import messages
from fleet.errors import BrokerRefused, BrokerUnreachable, UsageError
from fleet.publish import publish
from tests.integration.lossy import lose_answers


async def payloads(connection: Connection, tenant: str) -> list[bytes]:
    subject = f"jobs.batch.smollm2.{tenant}"
    return [stored.payload async for stored in messages(connection, "JOBS_BATCH", subject)]


@pytest.mark.parametrize("count", [1, 2, 120, MAX_MESSAGES])
async def test_a_batch_is_stored_in_order(provisioned: Connection, unique: str, count: int) -> None:
    subject = f"jobs.batch.smollm2.{unique}"
    batch = [(subject, b"%d" % number, {"Fleet-Batch": "b"}) for number in range(count)]
    receipt = await publish_batch(provisioned, batch)
    assert receipt.stream == "JOBS_BATCH"
    assert await payloads(provisioned, unique) == [b"%d" % number for number in range(count)]


async def test_headers_travel_with_each_message(provisioned: Connection, unique: str) -> None:
    subject = f"jobs.batch.smollm2.{unique}"
    await publish_batch(
        provisioned, [(subject, b"x", {"Fleet-Job-Id": f"j{number}"}) for number in range(3)]
    )
    stored = [message async for message in messages(provisioned, "JOBS_BATCH", subject)]
    assert [message.headers["Fleet-Job-Id"] for message in stored] == ["j0", "j1", "j2"]


@pytest.mark.parametrize("count", [0, MAX_MESSAGES + 1])
async def test_too_few_or_too_many_are_a_wrong_call(provisioned: Connection, count: int) -> None:
    with pytest.raises(UsageError, match=f"{count} messages"):
        await publish_batch(provisioned, [("jobs.batch.smollm2.acme", b"", {})] * count)


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_a_stream_without_batches_refuses_with_the_remedy(
    provisioned: Connection, unique: str, count: int
) -> None:
    subject = f"jobs.realtime.smollm2.{unique}"
    with pytest.raises(ApiError, match=r"nothing of it is stored.*fleet doctor"):
        await publish_batch(provisioned, [(subject, b"x", {})] * count)


async def test_a_full_queue_refuses_the_whole_batch(provisioned: Connection, unique: str) -> None:
    name = f"FULL_{unique}"
    config = {
        "name": name, "subjects": [f"full.{unique}.*"], "storage": "file", "discard": "new",
        "retention": "workqueue", "max_msgs_per_subject": 3, "discard_new_per_subject": True,
        "allow_atomic": True, "allow_direct": True,
    }  # fmt: skip
    await provisioned.api(f"STREAM.CREATE.{name}", config)
    subject = f"full.{unique}.a"
    await publish_batch(provisioned, [(subject, b"x", {})] * 2)
    with pytest.raises(ApiError, match="nothing of it is stored"):
        await publish_batch(provisioned, [(subject, b"y", {})] * 2)
    stored = [message.payload async for message in messages(provisioned, name, subject)]
    assert stored == [b"x", b"x"]
    await provisioned.api(f"STREAM.DELETE.{name}")


async def test_an_id_twice_refuses_the_whole_batch(provisioned: Connection, unique: str) -> None:
    subject = f"jobs.batch.smollm2.{unique}"
    with pytest.raises(ApiError, match="holds an id twice"):
        await publish_batch(provisioned, [(subject, b"x", {"Nats-Msg-Id": unique})] * 2)
    assert await payloads(provisioned, unique) == []


async def test_a_lost_answer_is_said_to_be_unclear(
    provisioned: Connection, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_answers(provisioned, monkeypatch, times=1)
    subject = f"jobs.batch.smollm2.{unique}"
    with pytest.raises(BrokerUnreachable, match="as a whole or not at all"):
        await publish_batch(provisioned, [(subject, b"x", {})] * 3)
    assert len(await payloads(provisioned, unique)) == 3


async def test_no_stream_at_all_is_a_refusal(provisioned: Connection, unique: str) -> None:
    with pytest.raises(BrokerRefused):
        await publish_batch(provisioned, [(f"nowhere.{unique}", b"x", {})] * 2)


async def test_a_batch_of_which_a_part_got_lost_on_its_way_is_published_again(
    provisioned: Connection, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, lost = provisioned.publish, list[bytes]()

    async def publish_but_one(subject: str, payload: bytes = b"", **more: Any) -> None:
        if payload == b"1" and not lost:
            lost.append(payload)  # as when the connection breaks, and comes back, under it
        else:
            await real(subject, payload, **more)

    monkeypatch.setattr(provisioned, "publish", publish_but_one)
    batch: list[Outgoing] = [
        (f"jobs.batch.smollm2.{unique}", b"%d" % number, {}) for number in range(3)
    ]
    with pytest.raises(BrokerUnreachable, match=r"nothing of it is stored.*publish it again"):
        await publish_batch(provisioned, batch)
    lost.clear()
    await publish(provisioned, batch)
    assert await payloads(provisioned, unique) == [b"0", b"1", b"2"]
