"""A fleet on this machine whose consumers come and go as a manager decides."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Never, Protocol

from fleet.broker.connection import Connection
from fleet.broker.nodes import Nodes
from fleet.events import Emit
from fleet.job import CapacityType
from fleet.pool.guard import Guard, Limits
from fleet.pool.knobs import Knobs, Tuning
from fleet.pool.local import LocalNode, LocalPool
from fleet.pool.local_provider import Local
from fleet.pool.quotes import FlatQuotes
from fleet.pool.service import PoolPlan, clock_of, machines, manage, me

# Processes start in seconds, and nobody waits for hours here. The words are those of a cloud's.
QUICK: Final = Tuning(
    usual_s=60.0,
    hold_s=15.0,
    cool_reclaimed_s=30.0,
    cool_failed_s=10.0,
    launches_per_tick=4,
    unhurried_s=600.0,
    startup_s=10.0,
)
# Labels on processes, not a bill: an hour of an H100.
PRICES_USD_PER_HOUR: Final[dict[str, float]] = {"on-demand": 4.50, "spot": 1.80}
TICK_S: Final = 2.0
LEASE_S: Final = 6.0
POLL_S: Final = 0.2


class Starts(Protocol):
    """Starts a consumer and watches over it."""

    async def __call__(self, capacity_type: CapacityType, zone: str) -> LocalNode:
        """Return it as soon as its process is there."""
        ...


class Watched:
    """Processes of a pool that somebody watches over: what a provider needs of them."""

    def __init__(self, pool: LocalPool, start: Starts) -> None:
        self._pool = pool
        self._start = start

    async def start(self, capacity_type: CapacityType, zone: str) -> LocalNode:
        """Start one consumer."""
        return await self._start(capacity_type, zone)

    async def wait(self, name: str) -> int:
        """Wait for one's end."""
        return await self._pool.wait(name)

    def notice(self, name: str) -> None:
        """Tell one that it is about to vanish."""
        self._pool.notice(name)

    def kill(self, name: str) -> None:
        """Let one vanish."""
        self._pool.kill(name)

    def running(self) -> Sequence[LocalNode]:
        """List those that are alive."""
        return self._pool.running()


async def manage_local(
    connection: Connection,
    market: Local,
    *,
    model: str,
    zones: Sequence[str],
    knobs: Knobs,
    emit: Emit,
    prices_usd_per_hour: dict[str, float],
    says_gone: bool,
) -> Never:
    """Run a pool of processes until cancelled.

    says_gone: whether ends are to be told to the ledger; False where whoever starts them does.
    """
    by = me()
    most = knobs.most_spot + knobs.most_on_demand + 2 * knobs.baseline
    clock = clock_of(connection)
    hands = machines(
        connection,
        # Those that leave still count for a while.
        Guard(market, Limits(per_call=most, machines=2 * most)),
        model=model,
        by=by,
        emit=emit,
        # No process outlives this one, and one that is mute is seen to end.
        reaper=None,
        clock=clock,
        says_gone=says_gone,
    )
    await manage(
        connection,
        PoolPlan(model=model, provider="local", zones=tuple(zones), knobs=knobs, tick_s=TICK_S),
        hands=hands,
        quotes=FlatQuotes(
            spot_usd=prices_usd_per_hour.get("spot"),
            on_demand_usd=prices_usd_per_hour.get("on-demand"),
        ),
        emit=emit,
        by=by,
        clock=clock,
    )


async def baseline_ready(
    nodes: Nodes, model: str, count: int, on_ready: Callable[[int, int], None]
) -> None:
    """Wait until so many on-demand consumers take jobs; `on_ready` is told how many do."""
    while True:
        ready = [
            one
            for one in await nodes.list()
            if one.model == model and one.capacity_type == "on-demand" and one.state == "ready"
        ]
        on_ready(min(len(ready), count), count)
        if len(ready) >= count:
            return
        await asyncio.sleep(POLL_S)
