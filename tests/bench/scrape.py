"""What it takes to watch 1,000 nodes: the exporter's looks and scrapes, and each consumer's own.

A real broker with 1,000 heartbeats, an hour of their events and a queue of 10,000 jobs; the numbers
of a consumer are those that each of the 1,000 would give to Prometheus.
"""

import asyncio
import secrets
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from fleet.broker.connection import Connection
from fleet.broker.eventlog import EventLog, store_event
from fleet.broker.nodes import Nodes
from fleet.broker.provision import provision
from fleet.events import NodeMetered, NodeReady, NodeStarted, UsageRecorded
from fleet.job import CapacityType, FleetInfo, Job, ResultLine, Tier
from fleet.metrics.fleet import FleetMetrics
from fleet.metrics.node import NodeMetrics
from fleet.node import Node
from fleet.pool.surveyor import Surveyor
from fleet.prices import DAY_S, PriceBook
from fleet.producer import Producer
from tests.asking import chat
from tests.bench.report import Figure, Options, at_most, median
from tests.expositions import look
from tests.integration.brokers import connected
from tests.server import nats_server

NODES, JOBS, TENANTS = 1_000, 10_000, 20
MODELS: Final = ("llama", "qwen", "smollm2")
ZONES: Final = ("a", "b", "c")
KINDS: Final[tuple[CapacityType, ...]] = ("spot", "spot", "spot", "on-demand")
# Of the 15 s between two scrapes.
TARGET_MS = 1000.0


async def measure(options: Options) -> Sequence[Figure]:
    """Fill a broker, then look and scrape again and again."""
    nodes = options.nodes or (50 if options.quick else NODES)
    jobs = options.jobs or (200 if options.quick else JOBS)
    rounds = options.rounds or (3 if options.quick else 20)
    with tempfile.TemporaryDirectory() as folder, nats_server(Path(folder)) as server:
        async with connected(server.url) as connection:
            events = await _fill(connection, nodes, jobs)
            return (
                *await _exporter(connection, nodes, rounds, f"{jobs} jobs, {events} events"),
                *_consumer(nodes, rounds),
            )


async def _exporter(connection: Connection, nodes: int, rounds: int, note: str) -> Sequence[Figure]:
    metrics = FleetMetrics()
    looks, scrapes = list[float](), list[float]()
    surveyor, slow = _surveyor(connection, 0.0), _surveyor(connection, 1.0)
    for _ in range(rounds):
        looks.append((await surveyor.look()).took_s * 1e3)
    began = time.perf_counter()
    metrics.take(await slow.look())
    cost_ms = (time.perf_counter() - began) * 1e3
    for _ in range(rounds):
        began = time.perf_counter()
        page = metrics.page()
        scrapes.append((time.perf_counter() - began) * 1e3)
    return (
        at_most(TARGET_MS, median("look", looks, "ms", f"{nodes} nodes, {note}")),
        Figure(name="look_with_cost", value=round(cost_ms, 1), unit="ms", note=note),
        median("scrape", scrapes, "ms", "the exporter's own page, from the last look"),
        Figure(name="series", value=_series(page.body), unit="series"),
        Figure(name="page", value=len(page.body), unit="bytes"),
    )


def _consumer(nodes: int, rounds: int) -> Sequence[Figure]:
    metrics, took = NodeMetrics(look), list[float]()
    info = FleetInfo(job="j", item=0, items=1, node="n", capacity_type="spot", run_s=1.0)
    for tier in Tier:
        job = Job(id="j", tenant="t", model="m", tier=tier, sha256="", items=())
        metrics.written(job, [ResultLine(id="j-0", custom_id=None, fleet=info)], complete=True)
    for _ in range(rounds):
        began = time.perf_counter()
        page = metrics.page()
        took.append((time.perf_counter() - began) * 1e3)
    series = _series(page.body)
    return (
        median("consumer_scrape", took, "ms"),
        Figure(name="consumer_series", value=series, unit="series", note="without vLLM's own"),
        Figure(name="fleet_series", value=series * nodes, unit="series", note=f"{nodes} consumers"),
    )


def _surveyor(connection: Connection, cost_every_s: float) -> Surveyor:
    async def unknown() -> None:
        return None

    return Surveyor(
        connection,
        tenants=[f"tenant-{n}" for n in range(TENANTS // 2)],
        ack_wait_s=10.0,
        monitor=unknown,
        book=PriceBook({}, dated=time.time()),
        window_s=DAY_S,
        cost_every_s=cost_every_s,
    )


def _series(body: bytes) -> int:
    return sum(not line.startswith(b"#") for line in body.splitlines())


async def _fill(connection: Connection, nodes: int, jobs: int) -> int:
    dice = Random(1)
    await provision(connection, MODELS)
    for tenant in range(TENANTS):
        producer = Producer(connection, tenant=f"tenant-{tenant}")
        requests = [chat("x")] * (jobs // TENANTS)
        await producer.submit_many(requests, model=dice.choice(MODELS))
    fleet = [_node(dice, number) for number in range(nodes)]
    beats = Nodes(connection)
    for node in fleet:
        await beats.beat(node, ttl_s=3600)
    for node in fleet:
        async with asyncio.TaskGroup() as group:
            for event in _hour(node):
                group.create_task(store_event(connection, event, msg_id=secrets.token_hex(8)))
    return await EventLog(connection).last()


def _node(dice: Random, number: int) -> Node:
    now = time.time()
    return Node(
        node=f"node-{number}", pid=1, host=f"host-{number}", capacity_type=dice.choice(KINDS),
        zone=dice.choice(ZONES), model=dice.choice(MODELS), engine="vllm", state="ready",
        started_at=now - 3600, at=now, items=dice.randrange(64), slots=64,
        price_usd_per_hour=2.0,
    )  # fmt: skip


def _hour(node: Node) -> list[NodeStarted | NodeReady | NodeMetered | UsageRecorded]:
    """Tell what a node says in an hour, as often as it does when it has run for long."""
    bill = msgspec.structs.asdict(node)
    of = {name: bill[name] for name in ("node", "capacity_type", "zone", "model", "host")}
    at = node.started_at
    told: list[NodeStarted | NodeReady | NodeMetered | UsageRecorded] = [
        NodeStarted(at=at, engine="vllm", pid=1, price_usd_per_hour=2.0, **of),
        NodeReady(at=at + 60, node=node.node, load_s=60.0),
    ]
    for minute in range(2, 10):
        told += (
            NodeMetered(
                at=at + 60 * minute, state="ready", items=9, busy_s=50.0 * minute, stall_s=0.0,
                tokens_generated=1000 * minute, price_usd_per_hour=2.0, **of,
            ),
            UsageRecorded(
                at=at + 60 * minute, node=node.node, tenant="tenant-1", model=node.model,
                tier=Tier.BATCH, batch=None, jobs=1, items=9, failed_items=0, prompt_tokens=100,
                completion_tokens=1000, engine_s=50.0,
            ),
        )  # fmt: skip
    return told
