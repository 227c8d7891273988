"""The heartbeat: what this node is and does, once a second, and usage records now and then."""

import asyncio
import logging
import time
from collections.abc import Callable

import msgspec

from consumers.identity import Identity
from consumers.meter import Totals
from fleet.broker.nodes import Nodes
from fleet.errors import BrokerRefused, BrokerUnreachable
from fleet.events import Emit
from fleet.node import Node, NodeState

log = logging.getLogger(__name__)
USAGE_S = 5.0


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
    ) -> None:
        self._me = me
        self._nodes = nodes
        self._totals = totals
        self._load = load
        self._emit = emit
        self._beat_s = beat_s
        self._ttl_s = ttl_s

    async def beat_for_ever(self) -> None:
        """Beat, and tell usage."""
        told_at = time.monotonic()
        while True:
            await self.beat()
            if time.monotonic() - told_at >= USAGE_S:
                told_at = time.monotonic()
                self.tell_usage()
            await asyncio.sleep(self._beat_s)

    async def beat(self) -> None:
        """Beat once."""
        try:
            await self._nodes.beat(self._node(), ttl_s=self._ttl_s)
        except (BrokerUnreachable, BrokerRefused) as error:
            log.warning("heartbeat failed", extra={"error": str(error)})

    def tell_usage(self) -> None:
        """Emit what was finished since the last time."""
        me = self._me
        for record in self._totals.records(at=time.time(), node=me.node, model=me.model):
            self._emit(record)

    def _node(self) -> Node:
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
        )
