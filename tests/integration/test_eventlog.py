"""The event log: in order, in the background, and honest about what it dropped."""

import asyncio
from typing import Any

import pytest

from fleet.broker import eventlog
from fleet.broker.connection import ApiError, Connection, Receipt
from fleet.broker.eventlog import EventLog
from fleet.errors import ConnectionLost, LeaseLost
from fleet.events import AnyEvent, NodeReady, NodeStopped
from tests.integration.lossy import lose_answers

SOON_S = 30.0


async def read(connection: Connection, node: str) -> list[AnyEvent]:
    recorded = [recorded async for recorded in EventLog(connection).read()]
    assert [entry.sequence for entry in recorded] == sorted(entry.sequence for entry in recorded)
    return [entry.event for entry in recorded if entry.event.node == node]


async def test_events_are_written_in_order_by_the_end_of_the_block(
    provisioned: Connection, unique: str
) -> None:
    events: list[AnyEvent] = [NodeReady(at=n, node=unique, load_s=n) for n in range(50)]
    events.append(NodeStopped(at=50, node=unique, cause="done"))
    async with EventLog(provisioned) as log:
        for event in events:
            log.emit(event)
    assert log.dropped == 0
    assert await read(provisioned, unique) == events


async def test_a_reader_goes_on_where_it_was(provisioned: Connection, unique: str) -> None:
    async with EventLog(provisioned) as log:
        log.emit(NodeStopped(at=1, node=unique, cause="a"))
    last = [recorded async for recorded in log.read()][-1].sequence
    assert [recorded async for recorded in log.read(after=last)] == []


async def test_a_full_queue_drops_and_counts(provisioned: Connection, unique: str) -> None:
    async with EventLog(provisioned, capacity=2) as log:
        for n in range(5):
            log.emit(NodeStopped(at=n, node=unique, cause="x"))
    assert log.dropped == 3
    assert len(await read(provisioned, unique)) == 2


async def test_an_event_whose_answer_was_lost_is_there_once(
    provisioned: Connection, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventlog, "RETRY_S", 0.01)
    lose_answers(provisioned, monkeypatch, times=2)
    async with EventLog(provisioned) as log:
        log.emit(NodeStopped(at=1, node=unique, cause="x"))
    assert len(await read(provisioned, unique)) == 1


async def test_a_broker_that_is_gone_does_not_hold_up_the_end(
    provisioned: Connection, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventlog, "RETRY_S", 0.01)
    monkeypatch.setattr(eventlog, "FLUSH_S", 0.1)
    lose_answers(provisioned, monkeypatch, times=10_000, stored=False)
    async with EventLog(provisioned) as log:
        for n in range(3):
            log.emit(NodeStopped(at=n, node=unique, cause="x"))
    assert log.dropped == 3


async def test_a_refused_event_is_given_up_and_the_next_one_written(
    provisioned: Connection, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventlog, "RETRY_S", 0.001)
    real = provisioned.append

    async def append(subject: str, payload: bytes, **kwargs: Any) -> Receipt:
        if subject.startswith("events.node_ready"):
            raise ApiError("no", 10023)
        return await real(subject, payload, **kwargs)

    monkeypatch.setattr(provisioned, "append", append)
    async with EventLog(provisioned) as log:
        log.emit(NodeReady(at=1, node=unique, load_s=1))
        log.emit(NodeStopped(at=2, node=unique, cause="x"))
    assert log.dropped == 1
    assert len(await read(provisioned, unique)) == 1


async def test_the_bodys_error_leaves_as_it_is_and_the_events_are_kept(
    provisioned: Connection, unique: str
) -> None:
    with pytest.raises(LeaseLost):
        async with EventLog(provisioned) as log:
            log.emit(NodeStopped(at=1, node=unique, cause="x"))
            raise LeaseLost("another one has it")
    assert len(await read(provisioned, unique)) == 1


async def test_a_connection_that_is_gone_ends_the_block_at_once(
    provisioned: Connection, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def append(*args: Any, **kwargs: Any) -> Receipt:
        raise ConnectionLost("closed for good")

    monkeypatch.setattr(provisioned, "append", append)
    # Nobody waits for what cannot be written any more.
    monkeypatch.setattr(eventlog, "FLUSH_S", 10 * SOON_S)
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(SOON_S), EventLog(provisioned) as log:
            log.emit(NodeStopped(at=1, node=unique, cause="x"))
            await asyncio.Event().wait()
    assert caught.group_contains(ConnectionLost)


async def test_foreign_events_are_left_out(provisioned: Connection, unique: str) -> None:
    for payload in (b"", b'{"event":"from_the_future","at":1,"node":"n"}', b"[" * 9999):
        await provisioned.append(f"events.odd.{unique}", payload)
    async with EventLog(provisioned) as log:
        log.emit(NodeStopped(at=1, node=unique, cause="x"))
    assert len(await read(provisioned, unique)) == 1


async def test_a_hostile_node_name_cannot_leave_its_place(provisioned: Connection) -> None:
    async with EventLog(provisioned) as log:
        log.emit(NodeStopped(at=1, node="a.b.>", cause="x"))
    assert log.dropped == 0


async def test_an_event_that_no_message_holds_is_dropped_and_the_next_is_written(
    provisioned: Connection, unique: str
) -> None:
    async with EventLog(provisioned) as log:
        log.emit(NodeStopped(at=1, node=unique, cause="x" * provisioned.max_payload))
        log.emit(NodeStopped(at=2, node=unique, cause="y"))
    assert log.dropped == 1
    assert [event.at for event in await read(provisioned, unique)] == [2]
