"""The screen and `fleet check` with the rights of the identity `dashboard`, which sees no job."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path

from dashboard.findings import findings, worst
from dashboard.live.source import LiveSource
from dashboard.snapshot import FleetSnapshot
from fleet.broker.connection import Connection
from fleet.broker.context import find_target
from fleet.broker.nodes import Nodes
from fleet.cli.cost_prices import load_book
from fleet.node import Node
from fleet.tenancy.grants import inbox_prefix
from tests.tenants import encoded, seed

BOUND_S = 30.0
JOB = {"url": "/v1/completions", "body": {"prompt": "secret", "max_tokens": 4}}


async def test_a_watcher_sees_the_fleet_and_its_queues_and_no_job(
    everybody: Mapping[str, Connection], accounts_url: str, tmp_path: Path
) -> None:
    await Nodes(everybody["@on-demand"]).beat(_node(), ttl_s=60)
    await everybody["acme"].append("jobs.batch.m", encoded(JOB))
    shown = await _watched(accounts_url, tmp_path)
    assert [fact.node.node for fact in shown.nodes] == ["n1"]
    [queue] = [one for one in shown.queues if one.tier == "batch"]
    assert [(one.tenant, one.stored) for one in queue.tenants] == [("acme", 1)]
    assert "batch" in shown.oldest_at
    assert shown.jobs == ()
    assert {"nodes", "queues", "batches", "pools", "events", "costs"} <= shown.read_at.keys()
    found = findings(shown)
    assert [one.name for one in found if one.level == "unknown"] == ["jobs_still"]
    assert worst(found, {"jobs_still"}) == "ok"


async def _watched(url: str, folder: Path) -> FleetSnapshot:
    """Watch until all was read, or refused."""
    file = folder / "watcher.seed"
    file.write_bytes(seed("@dashboard"))
    env = {"NATS_NKEY": str(file), "NATS_INBOX_PREFIX": inbox_prefix("dashboard")}

    async def why(*_: object) -> tuple[str, ...]:
        return ()

    source = LiveSource(find_target(url, env), book=load_book(None), why=why, pace_s=0.1)
    source.interval_s = 0.1
    async with asyncio.timeout(BOUND_S), aclosing(source.snapshots()) as snapshots:
        async for shown in snapshots:
            if "jobs" in shown.troubles and "costs" in shown.read_at:
                return shown
    raise AssertionError("the source ended")


def _node() -> Node:
    return Node(
        node="n1", pid=1, host="h", capacity_type="on-demand", zone="a", model="m", engine="e",
        state="ready", started_at=time.time(), at=time.time(),
    )  # fmt: skip
