"""How long the pool manager thinks: one tick with 1,000 nodes and 10,000 batches.

A tick counts the nodes by zone and decides. Spot is scarce and deadlines press, so that nothing is
left out: on-demand stands in, nodes are launched and given back, and batches are at risk. `why` is
what a person asks in between: how one of the batches stands.
"""

import time
from collections.abc import Sequence
from random import Random

from fleet.job import CapacityType
from fleet.pool.decision import Memory
from fleet.pool.knobs import Knobs
from fleet.pool.outlook import outlook
from fleet.pool.policy import decide
from fleet.pool.snapshot import Member, NodePhase, Price, Reclaimed, Snapshot, Work, count
from tests.bench.report import Figure, Options, at_most, median, percentile

NODES, BATCHES = 1_000, 10_000
ZONES = tuple(f"zone-{number}" for number in range(9))
PRICES = {zone: Price(spot_usd=1.5 + 0.1 * n, on_demand_usd=4.5) for n, zone in enumerate(ZONES)}
KNOBS = Knobs(most_spot=1_500, most_on_demand=400, baseline=20, budget_usd_per_h=4_000.0)
HOUR = 3600.0
TARGET_MS = 100.0


async def measure(options: Options) -> Sequence[Figure]:
    """Tick again and again, a quarter of a minute apart, while the work goes down."""
    ticks = options.rounds or (5 if options.quick else 50)
    dice = Random(1)
    nodes = options.nodes or NODES
    members, works = _members(dice, nodes), _works(dice)
    memory, now = Memory(), 0.0
    took: list[float] = []
    asked: list[float] = []
    for _ in range(ticks):
        now += 15.0
        began = time.thread_time()
        zones = count(members, PRICES)
        taken = Reclaimed(zone=dice.choice(ZONES), at=now)
        seen = Snapshot(now=now, work=works, zones=zones, startup_s=600.0, happened=(taken,))
        decision = decide(seen, KNOBS, memory)
        took.append((time.thread_time() - began) * 1e3)
        memory = decision.memory
        began = time.thread_time()
        outlook(seen, KNOBS, decision, works[-1].name)
        asked.append((time.thread_time() - began) * 1e3)
    note = f"{nodes} nodes, {BATCHES} batches, {len(decision.at_risk)} named at risk"
    return (
        at_most(TARGET_MS, median("tick", took, "ms", note)),
        Figure(name="tick_p99", value=round(percentile(took, 99), 2), unit="ms"),
        median("why", asked, "ms"),
    )


def _members(dice: Random, nodes: int) -> Sequence[Member]:
    kinds: tuple[CapacityType, ...] = ("spot", "spot", "spot", "on-demand")
    phases: tuple[NodePhase, ...] = ("ready", "ready", "ready", "starting", "leaving")
    return [
        Member(
            name=f"node-{number}", zone=dice.choice(ZONES), capacity_type=dice.choice(kinds),
            phase=dice.choice(phases), idle=dice.random() < 0.1,
        )
        for number in range(nodes)
    ]  # fmt: skip


def _works(dice: Random) -> tuple[Work, ...]:
    return tuple(
        Work(
            name=f"tenant-{number % 50}.batch-{number}", items=dice.randrange(1, 2_000),
            item_s=dice.uniform(1, 10), deadline=dice.uniform(0.5, 24) * HOUR,
        )
        for number in range(BATCHES)
    )  # fmt: skip
