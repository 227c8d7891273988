"""The heartbeat: what this node is and does, once a second. Now and then, how it spent its time."""

import asyncio
import logging
import time
from collections.abc import Callable

import msgspec

from consumers.identity import Identity
from consumers.meter import Totals
from fleet.broker.nodes import Nodes
from fleet.errors import BrokerRefused, BrokerUnreachable
from fleet.events import Emit, NodeMetered, NodeStarted
from fleet.node import Node, NodeState

log = logging.getLogger(__name__)
# What a node did since its last record is lost to the ledger when it is killed: at most a sixtieth
# of its life. Seldom, for a node would fill the stream's 512 MiB in some forty days at 5 s.
USAGE_S, USAGE_MAX_S, USAGE_SHARE = 5.0, 60.0, 60.0
# One that has nothing to tell gives a sign of life all the same: a killed one ends with its last.
IDLE_S = 60.0


class Load(msgspec.Struct, frozen=True):
    """What is in hand, and for how long. leaves_in_s: None where nobody gave notice."""

    state: NodeState
    jobs: int
    items: int
    slots: int
    notice: str = ""
    leaves_in_s: float | None = None


class Heart:
    """Beats until it is cancelled. A beat that fails is one beat less, not a reason to stop."""

    def __init__(
        self,
        *,
        me: Identity,
        nodes: Nodes,
        totals: Totals,
        load: Callable[[], Load],
        emit: Emit,
        beat_s: float,
        ttl_s: float,
        kv_cache: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._me = me
        self._nodes = nodes
        self._totals = totals
        self._load = load
        self._emit = emit
        self._beat_s = beat_s
        self._ttl_s = ttl_s
        self._kv_cache = kv_cache
        self._told: tuple[object, ...] = ()
        self._told_at = -IDLE_S

    async def beat_for_ever(self) -> None:
        """Beat, and tell usage."""
        began = told_at = time.monotonic()
        while True:
            await self.beat()
            now = time.monotonic()
            if now - told_at >= min(USAGE_MAX_S, max(USAGE_S, (now - began) / USAGE_SHARE)):
                told_at = now
                self.tell_usage()
            await asyncio.sleep(self._beat_s)

    async def beat(self) -> None:
        """Beat once."""
        try:
            await self._nodes.beat(self.node(), ttl_s=self._ttl_s)
        except (BrokerUnreachable, BrokerRefused) as error:
            log.warning("heartbeat failed", extra={"error": str(error)})

    async def stop(self) -> None:
        """Tell the rest of the usage, and take the node off the list."""
        self.tell_usage()
        try:
            await self._nodes.forget(self._me.node)
        except (BrokerUnreachable, BrokerRefused) as error:
            # It expires by itself. A node that holds nothing any more has ended well all the same.
            log.warning("heartbeat not taken back", extra={"error": str(error)})

    def tell_usage(self) -> None:
        """Emit how the time was spent, and what was finished since the last time."""
        me = self._me
        self._meter()
        for record in self._totals.records(at=time.time(), node=me.node, model=me.model):
            self._emit(record)

    def _meter(self) -> None:
        """Say what the ledger needs, unless nothing has changed for a short while."""
        totals, load = self._totals, self._load()
        totals.clock.read()
        tells = (load.state, totals.clock.busy_s, totals.clock.stall_s, totals.tokens_generated)
        if tells == self._told and time.monotonic() - self._told_at < IDLE_S:
            return
        self._told, self._told_at = tells, time.monotonic()
        me = self._me
        self._emit(
            NodeMetered(
                at=time.time(),
                node=me.node,
                capacity_type=me.capacity_type,
                zone=me.zone,
                model=me.model,
                host=me.host,
                instance_type=me.instance_type,
                since=me.since,
                price_usd_per_hour=me.price_usd_per_hour,
                state=load.state,
                items=load.items,
                busy_s=round(totals.clock.busy_s, 6),
                stall_s=round(totals.clock.stall_s, 6),
                tokens_generated=totals.tokens_generated,
            )
        )

    def node(self) -> Node:
        """Say how this node stands."""
        me, load = self._me, self._load()
        return Node(
            node=me.node,
            pid=me.pid,
            host=me.host,
            capacity_type=me.capacity_type,
            zone=me.zone,
            model=me.model,
            engine=me.engine,
            state=load.state,
            started_at=me.started_at,
            at=time.time(),
            jobs=load.jobs,
            items=load.items,
            slots=load.slots,
            tokens_generated=self._totals.tokens_generated,
            items_done=self._totals.items_done,
            price_usd_per_hour=me.price_usd_per_hour,
            notice=load.notice,
            leaves_at=None if load.leaves_in_s is None else time.time() + load.leaves_in_s,
            instance_type=me.instance_type,
            kv_cache=self._kv_cache(),
        )


def started(me: Identity) -> NodeStarted:
    """Say that this process began."""
    return NodeStarted(
        at=time.time(),
        node=me.node,
        capacity_type=me.capacity_type,
        zone=me.zone,
        model=me.model,
        host=me.host,
        instance_type=me.instance_type,
        since=me.since,
        price_usd_per_hour=me.price_usd_per_hour,
        engine=me.engine,
        pid=me.pid,
    )
