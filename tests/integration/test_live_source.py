"""A living fleet as the screen sees it, at a real broker."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from dashboard.findings import findings
from dashboard.job_rows import job_rows
from dashboard.look import Look
from dashboard.printed import tables
from dashboard.snapshot import FleetSnapshot
from fleet.broker.claims import Claims
from fleet.broker.connection import Connection
from fleet.broker.dead import DeadLetters
from fleet.broker.durables import pause
from fleet.broker.eventlog import EventLog
from fleet.broker.nodes import Nodes
from fleet.broker.provision import provision
from fleet.broker.queue import Puller
from fleet.claim import Claim, Past
from fleet.errors import BrokerUnreachable, JobRejected
from fleet.events import JobRetried, NodeGone, NodeMetered, NodeStarted, UsageRecorded
from fleet.job import Tier
from fleet.subjects import durable, job_stream
from tests.asking import Asker, chat, chunk
from tests.integration.queues import take
from tests.integration.watching import fact, has, job, live, node, nowhere, seen


@pytest.fixture(scope="module")
def nats_url(own_url: str) -> str:
    """The screen lists the oldest thousand jobs: those of other tests would stand before ours."""
    return own_url


@pytest.fixture
async def connection(provisioned: Connection, unique: str) -> Connection:
    await provision(provisioned, [unique])
    return provisioned


@pytest.fixture
async def snapshots(
    connection: Connection, nats_url: str
) -> AsyncGenerator[AsyncGenerator[FleetSnapshot]]:
    async with aclosing(live(nats_url).snapshots()) as watching:
        yield watching


async def test_a_heart_that_beats_is_seen_and_one_that_stops_is_lost(
    connection: Connection, snapshots: AsyncGenerator[FleetSnapshot], unique: str
) -> None:
    nodes, began = Nodes(connection), time.monotonic()
    await nodes.beat(node(unique, unique, tokens_generated=100), ttl_s=30)
    first = time.monotonic()
    await seen(snapshots, lambda s: has(s, unique))
    await asyncio.sleep(1.1)  # two beats make a rate, and a sample is a second apart
    second = time.monotonic()
    await nodes.beat(node(unique, unique, tokens_generated=400), ttl_s=1)
    ended = time.monotonic()
    shown = await seen(snapshots, lambda s: bool(fact(s, unique).tokens_per_s.minute))
    rate = fact(shown, unique).tokens_per_s.minute or 0
    assert 300 / (ended - began) < rate < 300 / (second - first)
    shown = await seen(snapshots, lambda s: fact(s, unique).lost_at is not None)
    assert fact(shown, unique).how == "vanished"
    lost = next(one for one in findings(shown) if one.name == "nodes_lost")
    assert unique in lost.text
    async with EventLog(connection) as log:
        log.emit(NodeGone(at=time.time(), node=unique, cause="reclaimed"))
    await seen(snapshots, lambda s: fact(s, unique).how == "reclaimed")
    await nodes.beat(node(unique, unique), ttl_s=30)
    await seen(snapshots, lambda s: fact(s, unique).lost_at is None)
    await nodes.forget(unique)
    await seen(snapshots, lambda s: not has(s, unique))


async def test_queues_are_counted_by_tenant_and_dead_letters_with_them(
    connection: Connection, snapshots: AsyncGenerator[FleetSnapshot], unique: str
) -> None:
    for tenant, jobs in ((unique, 3), (f"{unique}b", 2)):
        for _ in range(jobs):
            await Asker(connection, tenant, model=unique).publish("batch", chat("x"))
    async with _puller(connection, unique) as puller:
        await take(puller)

    def is_counted(snapshot: FleetSnapshot) -> bool:
        queue = next(q for q in snapshot.queues if (q.model, q.tier) == (unique, "batch"))
        stored = [(one.tenant, one.stored) for one in queue.tenants]
        return (
            _waiting(snapshot, unique) == (2, 2)
            and stored == [(unique, 3), (f"{unique}b", 2)]
            and (queue.waiting, queue.in_flight) == (4, 1)
            and all(one.oldest_at is not None for one in queue.tenants)
        )

    await seen(snapshots, is_counted)
    await pause(connection, Tier.BATCH, unique, for_s=60)
    await seen(snapshots, lambda s: any(q.model == unique and q.paused_s > 0 for q in s.queues))
    await seen(snapshots, lambda s: any(q.model == unique and q.stuck == 0 for q in s.queues))
    await pause(connection, Tier.BATCH, unique, for_s=0)


async def test_a_job_without_a_durable_is_seen_to_wait_for_nobody(
    connection: Connection, snapshots: AsyncGenerator[FleetSnapshot], unique: str
) -> None:
    await Asker(connection, unique, model=f"{unique}x").publish("background", chat("x"))
    shown = await seen(snapshots, lambda s: any(q.model == f"{unique}x" for q in s.queues))
    missing = next(one for one in findings(shown) if one.name == "queues_missing")
    assert (missing.level, f"{unique}x" in missing.text) == ("critical", True)


async def test_a_job_is_followed_from_waiting_to_held_to_between(
    connection: Connection, snapshots: AsyncGenerator[FleetSnapshot], unique: str
) -> None:
    await Nodes(connection).beat(node(unique, unique), ttl_s=60)
    asker = Asker(connection, unique, model=unique)
    receipt = await asker.publish("batch", chunk([chat("x")] * 4), headers={"Fleet-Job-Id": unique})
    shown = await seen(snapshots, lambda s: any(one.job == unique for one in s.jobs))
    assert (job(shown, unique).state, job(shown, unique).items) == ("waiting", 4)
    async with _puller(connection, unique) as puller:
        await take(puller)
    await seen(snapshots, lambda s: job(s, unique).state == "held")
    claims = Claims(connection)
    claim = Claim(owner=unique, writer="w", sha256="0" * 64, items_done=1, interruptions=2)
    revision = await claims.save(unique, unique, claim, revision=0)
    shown = await seen(snapshots, lambda s: job(s, unique).checkpoint_at is not None)
    row = next(one for one in job_rows(shown) if one.job == unique)
    assert (row.state, row.node, row.progress, row.interruptions) == ("held", unique, 0.25, 2)
    given_back = msgspec.structs.replace(claim, owner=None)
    await claims.save(unique, unique, given_back, revision=revision)
    await seen(snapshots, lambda s: job(s, unique).state == "between")
    assert receipt.stream == job_stream(Tier.BATCH)


async def test_a_job_that_says_how_many_items_it_has_in_no_number_is_shown_all_the_same(
    connection: Connection, snapshots: AsyncGenerator[FleetSnapshot], unique: str
) -> None:
    body = b'{"input": {"uri": "objects://payloads/a/b", "count": 1' + b"0" * 400 + b"}}"
    asker = Asker(connection, unique, model=unique)
    await asker.publish("batch", body, headers={"Fleet-Job-Id": unique})
    shown = await seen(snapshots, lambda s: any(one.job == unique for one in s.jobs))
    assert unique in tables(shown, 60.0, width=200, look=Look())
    assert job(shown, unique).items is None


async def test_events_are_shown_without_routine_and_summed_up_with_it(
    connection: Connection, snapshots: AsyncGenerator[FleetSnapshot], unique: str
) -> None:
    began = time.time() - 600
    about: dict[str, Any] = {
        "node": unique, "capacity_type": "spot", "zone": "a", "model": unique, "since": began,
        "price_usd_per_hour": 36.0,
    }  # fmt: skip
    async with EventLog(connection) as log:
        log.emit(NodeStarted(at=began, engine="e", pid=1, **about))
        for second in (0.0, 60.0):
            log.emit(
                NodeMetered(
                    at=began + 500 + second, state="ready", items=1, busy_s=400 + second,
                    stall_s=0.0, tokens_generated=1_000, **about,
                )
            )  # fmt: skip
        log.emit(
            UsageRecorded(
                at=time.time(), node=unique, tenant=unique, model=unique, tier=Tier.BATCH,
                batch="b", jobs=3, items=30, failed_items=1, prompt_tokens=5,
                completion_tokens=1_000, engine_s=300.0,
            )
        )  # fmt: skip
        log.emit(
            JobRetried(
                at=time.time(), node=unique, tenant=unique, job="j", attempts=1, code="c",
                reason="r", delay_s=1.0,
            )
        )  # fmt: skip
    shown = await seen(snapshots, lambda s: any(e.event.node == unique for e in s.events))
    kinds = {type(one.event) for one in shown.events if one.event.node == unique}
    assert kinds <= {NodeStarted, JobRetried}
    shown = await seen(snapshots, lambda s: _cost(s, unique) is not None)
    assert (_cost(shown, unique) or 0) > 0


async def test_a_job_has_a_story_and_what_never_was_has_none(
    connection: Connection, nats_url: str, unique: str
) -> None:
    asker = Asker(connection, unique, model=unique)
    await asker.publish("batch", chat("x"), headers={"Fleet-Job-Id": unique})
    past = (Past(time.time(), "n1", "silent"), Past(time.time(), "n2", "released"))
    claim = Claim(owner=None, writer="w", sha256="0" * 64, history=past)
    await Claims(connection).save(unique, unique, claim, revision=0)
    source = live(nats_url)
    with pytest.raises(BrokerUnreachable):
        await source.story(unique, unique, None)
    async with aclosing(source.snapshots()) as snapshots:
        await anext(snapshots)
        told = await source.story(unique, unique, None)
        assert told.why == (f"asked about {unique} of {unique}",)
        assert [(step.what, step.node) for step in told.steps] == [
            ("silent", "n1"), ("released", "n2"),
        ]  # fmt: skip
        with pytest.raises(JobRejected):
            await source.story("not a tenant", unique, None)


def _waiting(snapshot: FleetSnapshot, model: str) -> tuple[int | None, ...]:
    return tuple(
        one.waiting
        for queue in snapshot.queues
        if (queue.model, queue.tier) == (model, "batch")
        for one in queue.tenants
    )


def _cost(snapshot: FleetSnapshot, tenant: str) -> float | None:
    rows = snapshot.costs.tenants if snapshot.costs else ()
    return next((row.usd for row in rows if row.name == tenant), None)


def _puller(connection: Connection, model: str) -> Puller:
    return Puller(
        connection,
        stream=job_stream(Tier.BATCH),
        durable=durable(Tier.BATCH, model),
        group=None,
        priority=0,
        expires_s=2.0,
        heartbeat_s=0.5,
    )


async def test_the_story_of_a_job_that_was_given_up_ends_with_its_letter(
    connection: Connection, nats_url: str, unique: str
) -> None:
    await DeadLetters(connection).bury(
        subject=f"jobs.batch.{unique}.{unique}", payload=b"{}", headers={}, reason="no url",
        code="invalid_body", tenant=unique, job=unique, stream="JOBS_BATCH", sequence=7,
    )  # fmt: skip
    source = live(nats_url, why=nowhere)
    async with aclosing(source.snapshots()) as snapshots:
        await anext(snapshots)
        told = await source.story(unique, unique, None)
    assert told.errors == ("invalid_body: no url",)
    assert told.steps[-1].what == "given up (invalid_body)"
    assert told.why[0].startswith("it was given up at ")
