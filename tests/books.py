"""A fleet's events as the ledger tests tell them: nodes that work by the hour."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from fleet.events import (
    AnyEvent,
    NodeDraining,
    NodeGone,
    NodeLaunched,
    NodeMetered,
    NodeReady,
    NodeStarted,
    NodeStopped,
    UsageRecorded,
)
from fleet.job import CapacityType, Tier
from fleet.ledger import Account, Part
from fleet.lives import Life
from fleet.node import NodeState
from fleet.prices import Series, flat

HOUR: Final = 3600.0
# A midnight (UTC), so that hours are hours of a day.
T0: Final = 1_800_057_600.0
SPOT, ON_DEMAND = 1.80, 4.50


class Machine:
    """One node. Its methods give the events of what they say, at `at` hours after T0."""

    def __init__(
        self,
        node: str = "n1",
        capacity_type: CapacityType = "spot",
        *,
        zone: str = "a",
        launched: float = 0.0,
        price: float | None = None,
        instance_type: str = "h100",
        host: str = "",
    ) -> None:
        self.node = node
        self._about: dict[str, Any] = {
            "node": node, "capacity_type": capacity_type, "zone": zone, "model": "m",
            "since": T0 + launched * HOUR, "host": host or node, "instance_type": instance_type,
            "price_usd_per_hour": price,
        }  # fmt: skip

    def launched(self, at: float) -> AnyEvent:
        return NodeLaunched(at=T0 + at * HOUR, **self._about)

    def started(self, at: float) -> AnyEvent:
        return NodeStarted(at=T0 + at * HOUR, engine="scripted", pid=1, **self._about)

    def ready(self, at: float) -> AnyEvent:
        return NodeReady(at=T0 + at * HOUR, node=self.node, load_s=1.0)

    def meter(
        self,
        at: float,
        *,
        busy: float,
        stall: float = 0.0,
        items: int = 0,
        state: NodeState = "ready",
    ) -> AnyEvent:
        """Hours since the start."""
        return NodeMetered(
            at=T0 + at * HOUR, state=state, items=items, busy_s=busy * HOUR,
            stall_s=stall * HOUR, tokens_generated=0, **self._about,
        )  # fmt: skip

    def used(
        self, at: float, hours: float, *, tenant: str = "acme", batch: str | None = "b1",
        tier: Tier = Tier.BATCH, tokens: int = 0,
    ) -> AnyEvent:  # fmt: skip
        return UsageRecorded(
            at=T0 + at * HOUR, node=self.node, tenant=tenant, model="m", tier=tier, batch=batch,
            jobs=1, items=1, failed_items=0, prompt_tokens=0, completion_tokens=tokens,
            engine_s=hours * HOUR,
        )  # fmt: skip

    def draining(self, at: float, *, cause: str = "aws", jobs: int = 1) -> AnyEvent:
        return NodeDraining(at=T0 + at * HOUR, node=self.node, cause=cause, left_s=120.0, jobs=jobs)

    def stopped(self, at: float, cause: str = "aws") -> AnyEvent:
        return NodeStopped(at=T0 + at * HOUR, node=self.node, cause=cause)

    def gone(self, at: float, cause: str = "SIGKILL") -> AnyEvent:
        return NodeGone(at=T0 + at * HOUR, node=self.node, cause=cause)


def priced(life: Life) -> Series | None:
    """Look a price up as the example has it; a node that names its own has that."""
    usd = {"spot": SPOT, "on-demand": ON_DEMAND}[life.capacity_type]
    return flat(life.price_usd_per_hour or usd, life.capacity_type, at=0.0)


def on_demand(life: Life) -> Series | None:
    return flat(ON_DEMAND, "on-demand", at=0.0)


def hours(accounts: Sequence[Account]) -> dict[Part, float]:
    """Sum the parts of all accounts, in hours; those that are nothing are left out."""
    sums: dict[Part, float] = {}
    for account in accounts:
        for entry in account.entries:
            sums[entry.part] = sums.get(entry.part, 0.0) + entry.seconds / HOUR
    return {part: round(value, 6) for part, value in sums.items()}


def seed_fleet(
    *, reclaims: int = 50, total_h: float = 1000.0, start_up_min: float = 10.0
) -> Iterator[AnyEvent]:
    """A thousand spot hours, cut by fifty reclaims that each cost ten minutes of start-up.

    The first node is up already, as the example has it: fifty-one lives, fifty starts.
    """
    life_h, start_up_h = total_h / reclaims, start_up_min / 60
    for n in range(reclaims):
        begin, end = n * life_h, (n + 1) * life_h
        machine = Machine(f"n{n}", launched=begin)
        useful = life_h - start_up_h
        yield machine.started(begin)
        yield machine.meter(begin + start_up_h, busy=0.0, state="ready")
        yield machine.ready(begin + start_up_h)
        yield machine.meter(end, busy=useful)
        yield machine.used(end, useful, tokens=1_000_000)
        yield machine.gone(end)
