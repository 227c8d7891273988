"""Everything that one manager needs, put together and kept going."""

import asyncio
import os
import socket
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Annotated, Final, Never

import msgspec

from fleet.broker import control
from fleet.broker.clock import ServerClock
from fleet.broker.connection import Connection, Message
from fleet.control import DrainOrder, Heard
from fleet.errors import BrokerUnreachable
from fleet.events import Emit
from fleet.pool import desk
from fleet.pool.hands import Hands
from fleet.pool.knobs import Knobs
from fleet.pool.leader import TTL_S, Leader
from fleet.pool.machines import Machines, TellDrain
from fleet.pool.manager import LEAST_TICK_S, TICK_S, Manager
from fleet.pool.provider import Provider
from fleet.pool.quotes import Quotes
from fleet.pool.reaper import Reaper
from fleet.pool.switches import Switches
from fleet.pool.world import World
from fleet.subjects import POLICY
from fleet.topology import bucket_stream

# What makes another look worth while at once.
NEWS: Final = (
    "node_draining", "node_gone", "node_hinted", "node_ready", "node_stopped", "engine_lost",
)  # fmt: skip


class PoolPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One pool. provider: its name, for people. zones: in which machines may be launched.

    knobs: what counts until an operator sets any. tick_s: between two looks. lease_s: for how long
    nobody acts when the manager that leads dies.
    """

    model: str
    provider: str
    zones: tuple[str, ...]
    knobs: Knobs = Knobs()
    tick_s: Annotated[float, msgspec.Meta(ge=LEAST_TICK_S)] = TICK_S
    lease_s: float = TTL_S


def me() -> str:
    """Name this process, for people and in events."""
    host = socket.gethostname().split(".")[0].lower()
    return f"manager-{host[:40]}-{os.getpid()}"


def clock_of(connection: Connection) -> ServerClock:
    """Return the clock that a pool goes by."""
    return ServerClock(connection, bucket_stream(POLICY))


def tell_drain(connection: Connection) -> TellDrain:
    """Return what tells a node to drain."""

    async def tell(node: str) -> Heard:
        return await control.ask(connection, node, DrainOrder())

    return tell


def machines(
    connection: Connection,
    provider: Provider,
    *,
    model: str,
    by: str,
    emit: Emit,
    reaper: Reaper | None,
    clock: ServerClock,
    says_gone: bool = True,
) -> Machines:
    """Put the hands together that move a provider's machines. clock: as for `manage`."""
    return Machines(
        provider,
        model=model,
        me=by,
        tell_drain=tell_drain(connection),
        emit=emit,
        reaper=reaper,
        says_gone=says_gone,
        now=clock.told,
    )


async def manage(
    connection: Connection,
    plan: PoolPlan,
    *,
    hands: Hands,
    quotes: Quotes,
    emit: Emit,
    by: str,
    clock: ServerClock,
    alive: Callable[[], None] = lambda: None,
) -> Never:
    """Run a pool until cancelled, and let the next manager lead at once then.

    clock: the server's, by which jobs expire: ours may be wrong. alive: called after each look.
    """
    leader = Leader(connection, plan.model, by=by, ttl_s=plan.lease_s)
    woken = asyncio.Event()
    world = World(
        connection, plan.model, hands=hands, quotes=quotes, zones=plan.zones, woken=woken.set,
        now=clock.told,
    )  # fmt: skip
    manager = Manager(
        model=plan.model,
        me=by,
        provider=plan.provider,
        eyes=world,
        hands=hands,
        leading=leader,
        board=Switches(connection, plan.model),
        emit=emit,
        knobs=plan.knobs,
        now=clock.told,
        woken=woken,
        tick_s=plan.tick_s,
        alive=alive,
    )
    await clock.look()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(clock.follow())
            group.create_task(leader.follow())
            group.create_task(world.follow())
            group.create_task(_listen(connection, woken, NEWS))
            group.create_task(
                desk.serve(
                    connection, plan.model, by=by, leads=lambda: leader.leads, why=manager.why
                )
            )
            group.create_task(manager.run())
    finally:
        with suppress(BrokerUnreachable):
            await leader.give_up()
    raise AssertionError("unreachable: none of these ends by itself")


async def _listen(connection: Connection, woken: asyncio.Event, kinds: Collection[str]) -> Never:
    """Wake the manager by what the nodes tell, as it passes."""

    def hear(_: Message) -> None:
        woken.set()

    subscriptions = [await connection.subscribe(f"events.{kind}.*", hear) for kind in kinds]
    try:
        await asyncio.Event().wait()
    finally:
        for subscription in subscriptions:
            with suppress(BrokerUnreachable):
                await subscription.unsubscribe()
    raise AssertionError("unreachable: nobody sets this event")
