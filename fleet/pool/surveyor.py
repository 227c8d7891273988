"""Looks at a whole fleet for whoever exports its numbers: reads, and changes nothing.

A look costs one request a stream and one a durable, whatever the number of jobs, and one page a few
hundred nodes. Nobody's job, answer or claim is read.
"""

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final, TypeAlias, TypeVar

from fleet.accounts import open_books
from fleet.broker.connection import ApiError, Connection
from fleet.broker.durables import DurableState, durable_states
from fleet.broker.kv import Bucket
from fleet.broker.nodes import Nodes
from fleet.broker.provision import NOT_FOUND, drift, served_models
from fleet.broker.stream_state import StreamState
from fleet.cost import report
from fleet.errors import BrokerUnreachable, ConnectionLost, FleetError
from fleet.job import Tier
from fleet.metrics.survey import (
    BrokerSeen,
    CostSeen,
    Monitored,
    PoolSeen,
    QueueSeen,
    Survey,
)
from fleet.pool.seen import (
    StreamInfo,
    dead_letters,
    nodes_seen,
    pool_seen,
    queue_seen,
    spent,
    stream_info,
    stream_seen,
    tenant_jobs,
)
from fleet.pool.switches import Standing
from fleet.prices import PriceBook
from fleet.subjects import DEAD, POLICY, job_stream
from fleet.topology import STREAMS

# How often settings are compared with what they should be: that asks for all of them once more.
COMPARE_S: Final = 60.0
_POOL: Final = "pool"
_COUNTED: Final = frozenset({DEAD, *(job_stream(tier) for tier in Tier)})
T = TypeVar("T")
Monitor: TypeAlias = Callable[[], Awaitable[Monitored | None]]


class Surveyor:
    """Reads a fleet again and again.

    tenants: those that may be named; the jobs of others are counted together. ack_wait_s: that
    durables should have. monitor: asks the server's monitor, or says None. book: prices where a
    node did not tell its own. window_s: how far back cost is told; cost_every_s: how often, for all
    events are read for it; 0 for never.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        tenants: Collection[str] = (),
        ack_wait_s: float,
        monitor: Monitor,
        book: PriceBook,
        window_s: float,
        cost_every_s: float,
    ) -> None:
        self._connection = connection
        self._tenants = frozenset(tenants)
        self._ack_wait_s = ack_wait_s
        self._monitor = monitor
        self._book = book
        self._window_s = window_s
        self._cost_every_s = cost_every_s
        self._cost: CostSeen | None = None
        self._cost_at: float | None = None
        self._told: BrokerSeen | None = None
        self._told_at: float | None = None
        self._unread: list[str] = []

    async def look(self) -> Survey:
        """Look once. What is forbidden or corrupt is left out, by name.

        Raises BrokerUnreachable and ConnectionLost.
        """
        began = time.monotonic()
        self._unread = []
        models = await self._part("models", served_models(self._connection)) or ()
        infos = await self._part("streams", self._infos()) or {}
        living = await self._part("nodes", Nodes(self._connection).list())
        return Survey(
            queues=await self._part("queues", self._queues(infos, models)),
            streams=tuple(stream_seen(name, info) for name, info in infos.items()) or None,
            tenants=tenant_jobs(infos, self._tenants),
            dead=dead_letters(infos.get(DEAD)),
            nodes=None if living is None else nodes_seen(living, models),
            pools=await self._part("pools", self._pools()),
            broker=await self._part("broker", self._broker(infos, models)),
            cost=await self._recent_cost(),
            unread=tuple(self._unread),
            took_s=time.monotonic() - began,
            at=time.monotonic(),
        )

    async def _part(self, name: str, reading: Awaitable[T]) -> T | None:
        try:
            return await reading
        except (BrokerUnreachable, ConnectionLost):
            raise
        except FleetError:
            self._unread.append(name)
            return None

    async def _infos(self) -> dict[str, StreamInfo]:
        """Ask for each stream once; one that is missing is left out."""
        found: dict[str, StreamInfo] = {}
        for spec in STREAMS:
            query = {"subjects_filter": ">"} if spec.name in _COUNTED else None
            try:
                info = await self._connection.api(f"STREAM.INFO.{spec.name}", query)
            except ApiError as error:
                if error.err_code not in NOT_FOUND:
                    raise
                continue
            found[spec.name] = stream_info(info)
        return found

    async def _queues(
        self, infos: Mapping[str, StreamInfo], models: Collection[str]
    ) -> tuple[QueueSeen, ...]:
        states: list[DurableState] = []
        for tier in Tier:
            if (info := infos.get(job_stream(tier))) is not None:
                state = StreamState(last_seq=info.last_seq, subjects=info.subjects)
                states += await durable_states(self._connection, tier, models, state)
        return tuple(queue_seen(state) for state in states)

    async def _pools(self) -> tuple[PoolSeen, ...]:
        bucket = Bucket(self._connection, POLICY, Standing)
        return tuple(pool_seen(one.value) for one in (await bucket.entries(_POOL)).values())

    async def _broker(self, infos: Mapping[str, StreamInfo], models: Collection[str]) -> BrokerSeen:
        now = time.monotonic()
        if self._told is None or self._told_at is None or now - self._told_at >= COMPARE_S:
            self._told_at = now
            self._told = BrokerSeen(
                monitored=await self._monitored(),
                replicas=min((info.replicas for info in infos.values()), default=None),
                drift=len(await drift(self._connection, models, self._ack_wait_s)),
            )
        return self._told

    async def _monitored(self) -> Monitored | None:
        """Ask the monitor, which may be gone while the broker is there."""
        try:
            return await self._monitor()
        except BrokerUnreachable:
            self._unread.append("monitor")
            return None

    async def _recent_cost(self) -> CostSeen | None:
        now = time.monotonic()
        if not self._cost_every_s:
            return None
        if self._cost_at is None or now - self._cost_at >= self._cost_every_s:
            self._cost_at = now
            self._cost = await self._part("cost", self._read_cost())
        return self._cost

    async def _read_cost(self) -> CostSeen:
        books = await open_books(self._connection, self._book, since=time.time() - self._window_s)
        made = report(books.accounts, books.pricing.on_demand, since=books.since)
        return CostSeen(
            window_s=self._window_s,
            usd=spent(books.accounts),
            unpriced_hours=made.unpriced_hours,
            output_tokens=made.output_tokens,
            saved_usd=made.saved_usd,
        )
