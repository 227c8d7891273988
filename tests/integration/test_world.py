"""What a manager sees at a real broker."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from fleet.batches import Batches
from fleet.broker.connection import Connection
from fleet.broker.eventlog import EventLog
from fleet.broker.nodes import Nodes
from fleet.broker.provision import provision
from fleet.broker.queued import queued, remove
from fleet.errors import BrokerUnreachable
from fleet.events import AnyEvent, NodeReady, NodeStarted, UsageRecorded
from fleet.job import Tier
from fleet.node import Node
from fleet.pool.decision import Decision
from fleet.pool.hands import Sight, Sure
from fleet.pool.provider import Fault
from fleet.pool.quotes import FlatQuotes
from fleet.pool.snapshot import Happening, Snapshot
from fleet.pool.world import World
from tests.asking import Asker, chat
from tests.batching import submit_batch


class Hands:
    """Sees nothing but heartbeats. down: whether the provider answers."""

    down = False
    nodes: Sequence[Node] | None = ()

    async def look(self, nodes: Sequence[Node] | None) -> Sight | Fault:
        self.nodes = nodes
        if self.down:
            return Fault(kind="unreachable", text="nobody answers")
        return Sight(machines=(), nodes=tuple(nodes or ()), members=())

    async def carry_out(
        self, decision: Decision, sight: Sight, *, most: int, sure: Sure
    ) -> list[Happening]:
        return []

    def forget(self) -> None:
        return


@asynccontextmanager
async def looking(connection: Connection, model: str, hands: Hands) -> AsyncIterator[World]:
    quotes = FlatQuotes(spot_usd=1.0, on_demand_usd=2.0)
    world = World(connection, model, hands=hands, quotes=quotes, zones=("a", "b"))
    async with asyncio.TaskGroup() as group:
        following = group.create_task(world.follow())
        yield world
        following.cancel()


async def seen(world: World) -> Snapshot:
    return (await world.look(paused=False, falls_back=False, realtime=1)).snapshot


@pytest.fixture
async def connection(provisioned: Connection, unique: str) -> Connection:
    await provision(provisioned, [unique])
    return provisioned


async def tell(connection: Connection, *events: AnyEvent) -> None:
    async with EventLog(connection) as log:
        for event in events:
            log.emit(event)


def node(name: str, model: str) -> Node:
    return Node(
        node=name, pid=1, host="h", capacity_type="on-demand", zone="a", model=model, engine="e",
        state="ready", started_at=0.0, at=time.time(), slots=4,
    )  # fmt: skip


async def test_batches_their_progress_and_their_pace_are_seen_also_by_who_comes_later(
    connection: Connection, unique: str
) -> None:
    began = time.time()
    batch = await submit_batch(
        connection, tenant=unique, model=unique, items=8, window_s=3600.0, chunk=2
    )
    name = f"{unique}-n"
    told: list[AnyEvent] = [
        NodeStarted(at=began, node=name, capacity_type="spot", zone="a", model=unique, engine="e",
                    pid=1, since=began - 20),
        NodeReady(at=began + 10, node=name, load_s=10.0),
        UsageRecorded(at=began + 20, node=name, tenant=unique, model=unique, tier=Tier.BATCH,
                      batch=batch.id, jobs=1, items=3, failed_items=0, prompt_tokens=1,
                      completion_tokens=1, engine_s=6.0),
    ]  # fmt: skip
    async with looking(connection, unique, Hands()) as world:
        [work] = (await seen(world)).work or ()
        assert (work.name, work.items, work.deadline) == (f"{unique}.b", 8, batch.deadline)
        assert work.item_s is None
        await tell(connection, *told)
        first = await seen(world)
    async with looking(connection, unique, Hands()) as later:
        second = await seen(later)
    for snapshot in (first, second):
        [work] = snapshot.work or ()
        assert (work.items, work.item_s, snapshot.item_s) == (5, 2.0, 2.0)
        assert snapshot.startup_s == pytest.approx(30.0, abs=0.1)
        assert [zone.name for zone in snapshot.zones or ()] == ["a", "b"]


async def test_a_batch_whose_jobs_have_gone_is_no_work(connection: Connection, unique: str) -> None:
    await submit_batch(connection, tenant=unique, model=unique, items=4, window_s=3600.0, chunk=2)
    async with looking(connection, unique, Hands()) as world:
        assert (await seen(world)).work
        subject = f"jobs.batch.{unique}.{unique}"
        async for one in queued(connection, "JOBS_BATCH", subject):
            await remove(connection, one)
        assert (await seen(world)).work == ()


async def test_a_cancelled_batch_gets_no_node(connection: Connection, unique: str) -> None:
    await submit_batch(connection, tenant=unique, model=unique, items=4, window_s=3600.0, chunk=2)
    await Batches(connection, tenant=unique).cancel("b")
    async with looking(connection, unique, Hands()) as world:
        work = (await seen(world)).work or ()
        assert [(one.deadline, one.name) for one in work] == [(None, f"{unique}._")]


async def test_real_time_load_is_counted_in_nodes(connection: Connection, unique: str) -> None:
    nodes = Nodes(connection)
    for name in ("one", "two"):
        await nodes.beat(node(f"{unique}-{name}", unique), ttl_s=60)
    await nodes.beat(node(f"{unique}-other", "another"), ttl_s=60)
    asker = Asker(connection, unique, model=unique)
    for _ in range(2):
        await asker.publish("realtime", chat("hi"))
    hands = Hands()
    async with looking(connection, unique, hands) as world:
        load = (await seen(world)).load
    assert load is not None
    assert (load.busy, load.spare) == (0.5, 0.125)
    assert [one.node for one in hands.nodes or ()] == [f"{unique}-one", f"{unique}-two"]
    for name in ("one", "two", "other"):
        await nodes.forget(f"{unique}-{name}")


async def test_what_cannot_be_read_is_none_and_told(
    connection: Connection, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(*_: object, **__: object) -> None:
        raise BrokerUnreachable("nobody answers")

    hands = Hands()
    async with looking(connection, unique, hands) as world:
        await seen(world)
        monkeypatch.setattr("fleet.pool.world.backlog", silent)
        monkeypatch.setattr(Nodes, "list", silent)
        hands.down = True
        look = await world.look(paused=True, falls_back=False, realtime=0)
    assert (look.snapshot.work, look.snapshot.zones, look.snapshot.load) == (None, None, None)
    assert hands.nodes is None
    assert look.snapshot.paused
    assert [text.partition(":")[0] for text in look.troubles] == [
        "heartbeats", "the queues", "real-time load", "the provider",
    ]  # fmt: skip
