"""A source of snapshots, and waiting until one shows something."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence

import msgspec

from dashboard.live.source import LiveSource
from dashboard.live.story import Why
from dashboard.snapshot import FleetSnapshot, JobFact, NodeFact
from fleet.broker.connection import Connection
from fleet.broker.context import find_target
from fleet.cli.cost_prices import load_book
from fleet.errors import NotFound
from fleet.node import Node

BOUND_S = 60.0
QUICK_S = 0.1


async def why(_: Connection, tenant: str, job: str) -> Sequence[str]:
    return (f"asked about {job} of {tenant}",)


async def nowhere(_: Connection, tenant: str, job: str) -> Sequence[str]:
    raise NotFound(f"{job} of {tenant} is in no queue")


def live(url: str, *, why: Why = why) -> LiveSource:
    source = LiveSource(
        find_target(url, {}), book=load_book(None), why=why, pace_s=QUICK_S, wait_s=1.0
    )
    source.interval_s = QUICK_S
    return source


async def seen(
    snapshots: AsyncGenerator[FleetSnapshot], what: Callable[[FleetSnapshot], bool]
) -> FleetSnapshot:
    """Wait until the screen would show it."""
    async with asyncio.timeout(BOUND_S):
        async for snapshot in snapshots:
            if what(snapshot):
                return snapshot
    raise AssertionError("the source ended")


def node(name: str, model: str, **more: object) -> Node:
    made = Node(
        node=name, pid=1, host="h", capacity_type="spot", zone="a", model=model, engine="e",
        state="ready", started_at=time.time() - 60, at=time.time(), slots=4,
        price_usd_per_hour=0.5,
    )  # fmt: skip
    return msgspec.structs.replace(made, **more)


def has(snapshot: FleetSnapshot, name: str) -> bool:
    return any(one.node.node == name for one in snapshot.nodes)


def fact(snapshot: FleetSnapshot, name: str) -> NodeFact:
    return next(one for one in snapshot.nodes if one.node.node == name)


def job(snapshot: FleetSnapshot, name: str) -> JobFact:
    return next(one for one in snapshot.jobs if one.job == name)
