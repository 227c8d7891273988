"""What one open dashboard costs the broker: messages, bytes, and time of its processor.

A small fleet, and one of 1,000 nodes, 200 queues and 10,000 jobs of 0.5 KiB, half of which are out
and have a claim. Nodes beat once a second. The server is looked at for a while without a dashboard,
and for as long with one; messages and bytes are those of the dashboard's own connection.
"""

import asyncio
import os
import tempfile
import time
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from dashboard.snapshot import PARTS, FleetSnapshot
from fleet.broker.connection import Connection
from fleet.broker.kv import SEAL, TTL, seal_of
from fleet.broker.provision import provision
from fleet.claim import Claim, Saved
from fleet.cli.top_source import live
from fleet.job import Tier
from fleet.node import Node
from fleet.subjects import CLAIMS, NODES, claim_key, durable, job_stream
from fleet.topology import bucket_subject
from tests.bench.report import Figure, Options, say
from tests.integration.brokers import connected
from tests.ports import free_port
from tests.server import NatsServer, nats_server

SIZES: Final = {"small": (10, 9, 100), "large": (1_000, 200, 10_000)}
TENANTS: Final = 10
TEXT: Final = "x" * 400
# Until everything was read once: what a second costs comes after that.
SETTLE_S: Final = 15.0
LOOK_S: Final = 60.0
AT_ONCE: Final = 500
TICKS: Final = os.sysconf("SC_CLK_TCK")


class Passed(msgspec.Struct, frozen=True):
    """What the server sent to one connection, and got from it, as `/connz` tells it."""

    name: str = ""
    in_msgs: int = 0
    out_msgs: int = 0
    out_bytes: int = 0


class _Connz(msgspec.Struct, frozen=True):
    connections: list[Passed]


async def measure(options: Options) -> Sequence[Figure]:
    """Look at both sizes."""
    figures: list[Figure] = []
    for name, (nodes, queues, jobs) in SIZES.items():
        if options.quick and name == "large":
            continue
        look_s = 5.0 if options.quick else LOOK_S
        figures += await _size(name, nodes, queues, jobs, look_s)
    return figures


async def _size(name: str, nodes: int, queues: int, jobs: int, look_s: float) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        config = f'http: "127.0.0.1:{port}"'
        with nats_server(Path(folder) / "nats", config=config) as server:
            async with connected(server.url) as connection:
                await _fill(connection, queues, jobs)
                say(f"{name}: {nodes} nodes, {queues} queues, {jobs} jobs")
                async with _beating(connection, nodes):
                    await asyncio.sleep(2.0)
                    before = await _cpu_s(server, look_s)
                    return await _watched(server, port, name, look_s, before)


async def _watched(
    server: NatsServer, port: int, name: str, look_s: float, before_s: float
) -> list[Figure]:
    source, seen = live(server.url), Seen()
    async with asyncio.TaskGroup() as group:
        looking = group.create_task(seen.look(source.snapshots()))
        await asyncio.sleep(SETTLE_S if name == "large" else SETTLE_S / 3)
        first = await _passed(port)
        cpu_s = await _cpu_s(server, look_s)
        last = await _passed(port)
        looking.cancel()
    sent = (last.out_msgs - first.out_msgs) / look_s
    asked = (last.in_msgs - first.in_msgs) / look_s
    size = (last.out_bytes - first.out_bytes) / look_s / 1024
    parts = ", ".join(
        f"{part} {budget.bytes / 1024:.0f} KiB in {budget.looks} looks"
        for part, budget in source.budgets.items()
        if budget.looks
    )
    share = 100 * (cpu_s - before_s) / look_s
    whole = "never" if seen.whole_s is None else f"{seen.whole_s:.1f} s"
    return [
        Figure(
            name=f"{name}_first",
            value=round(seen.first_s or 0.0, 2),
            unit="s",
            note=f"with nodes and queues; with jobs and costs, too, after {whole}",
        ),
        Figure(name=f"{name}_requests", value=round(asked, 1), unit="1/s"),
        Figure(name=f"{name}_messages", value=round(sent, 1), unit="1/s"),
        Figure(name=f"{name}_bytes", value=round(size, 1), unit="KiB/s", note=parts),
        Figure(
            name=f"{name}_processor",
            value=round(share, 1),
            unit="% of a core",
            note=f"{100 * before_s / look_s:.1f} without, {100 * cpu_s / look_s:.1f} with it",
        ),
    ]


class Seen:
    """When the first snapshot came, and the first with all of its parts, in seconds."""

    def __init__(self) -> None:
        self.first_s: float | None = None
        self.whole_s: float | None = None

    async def look(self, snapshots: AsyncGenerator[FleetSnapshot]) -> None:
        began = time.monotonic()
        async with aclosing(snapshots):
            async for snapshot in snapshots:
                passed_s = time.monotonic() - began
                self.first_s = self.first_s or passed_s
                if self.whole_s is None and len(snapshot.read_at) == len(PARTS):
                    self.whole_s = passed_s


async def _fill(connection: Connection, queues: int, jobs: int) -> None:
    """Make queues, jobs in them, and claims of those that are out."""
    tiers = len(Tier)
    models = [f"m{n}" for n in range(max(1, queues // tiers // TENANTS))]
    tenants = [f"t{n}" for n in range(max(1, queues // tiers // len(models)))]
    await provision(connection, models, ack_wait_s=3_600.0)
    body = msgspec.json.encode(
        {"url": "/v1/completions", "body": {"prompt": TEXT, "max_tokens": 64}}
    )
    places = [(tier, model, tenant) for tier in Tier for model in models for tenant in tenants]
    for start in range(0, jobs, AT_ONCE):
        async with asyncio.TaskGroup() as group:
            for n in range(start, min(jobs, start + AT_ONCE)):
                # Real time is limited to a thousand jobs a queue, and is never so long.
                tier, model, tenant = places[n % len(places)]
                subject = f"jobs.{tier}.{model}.{tenant}"
                headers = {"Fleet-Job-Id": f"job-{n:06}"}
                group.create_task(_append(connection, subject, body, headers))
    for tier, model in {(tier, model) for tier, model, _ in places}:
        await _take_out(connection, tier, model, jobs // 2 // (len(places) // len(tenants)))
    saved = tuple(Saved(n, tuple(range(100)), tuple(range(50))) for n in range(4))
    claim = Claim(owner="node-0001", writer="w", sha256="0" * 64, saved=saved, items_done=1)
    payload = msgspec.json.encode(claim)
    for n in range(jobs // 2):
        tenant = places[n % len(places)][2]
        subject = bucket_subject(CLAIMS, claim_key(tenant, f"job-{n:06}"))
        await connection.publish(subject, payload, headers={SEAL: seal_of(payload)})


async def _append(
    connection: Connection, subject: str, body: bytes, headers: dict[str, str]
) -> None:
    await connection.append(subject, body, headers=headers, wait_s=60.0)


async def _take_out(connection: Connection, tier: Tier, model: str, count: int) -> None:
    """Let some jobs be out, at nobody's."""
    subject = f"$JS.API.CONSUMER.MSG.NEXT.{job_stream(tier)}.{durable(tier, model)}"
    query: dict[str, object] = {"batch": count, "no_wait": True}
    if tier is Tier.BACKGROUND:
        query["group"] = "g"
    await connection.publish(subject, msgspec.json.encode(query), reply=connection.new_inbox())


@asynccontextmanager
async def _beating(connection: Connection, nodes: int) -> AsyncIterator[None]:
    """Let nodes beat while the body runs."""

    async def beat() -> None:
        while True:
            began = time.monotonic()
            for n in range(nodes):
                node = _node(n)
                subject = bucket_subject(NODES, node.node)
                await connection.publish(subject, msgspec.json.encode(node), headers={TTL: "60"})
            await asyncio.sleep(max(0.1, 1.0 - (time.monotonic() - began)))

    async with asyncio.TaskGroup() as group:
        beats = group.create_task(beat())
        yield
        beats.cancel()


def _node(number: int) -> Node:
    now = time.time()
    return Node(
        node=f"node-{number:04}", pid=number, host=f"h{number}", capacity_type="spot", zone="a",
        model="m0", engine="vllm 0.33.0", state="ready", started_at=now - 600, at=now, jobs=4,
        items=4, slots=8, tokens_generated=int(now * 100) % 10**9, items_done=100,
        price_usd_per_hour=0.4, instance_type="g6.xlarge",
    )  # fmt: skip


async def _cpu_s(server: NatsServer, look_s: float) -> float:
    """Measure how long the server's processes compute within `look_s` seconds."""
    before = _ticks(server.process.pid)
    await asyncio.sleep(look_s)
    return (_ticks(server.process.pid) - before) / TICKS


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


async def _passed(port: int) -> Passed:
    def read() -> Passed:
        address = f"http://127.0.0.1:{port}/connz?limit=1024"
        with urllib.request.urlopen(address, timeout=10) as reply:
            found = msgspec.json.decode(reply.read(), type=_Connz)
        return next(one for one in found.connections if one.name == "fleet-top")

    return await asyncio.to_thread(read)
