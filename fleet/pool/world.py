"""What there is to know of a pool, gathered into one snapshot.

A look costs the broker a handful of requests, whatever the number of jobs: queues are counted by
the server, and batches and events are read on from where the last look ended. What cannot be read
is None in the snapshot, and told in words.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, TypeVar

import msgspec

from fleet.broker.backlog import backlog
from fleet.broker.connection import Connection
from fleet.broker.eventlog import EventLog
from fleet.broker.news import BucketNews
from fleet.broker.nodes import Nodes
from fleet.errors import BrokerRefused, BrokerUnreachable
from fleet.job import Tier
from fleet.manifest import Manifest
from fleet.node import Node
from fleet.pool.hands import Hands, Sight
from fleet.pool.progress import Progress
from fleet.pool.provider import Fault
from fleet.pool.quotes import Quotes
from fleet.pool.reclaims import Reclaims
from fleet.pool.snapshot import Happening, Load, Snapshot, Work, count
from fleet.pool.workload import Submitted, submitted, workload
from fleet.subjects import BATCHES, batch_key

OPEN: Final = frozenset({"submitting", "submitted"})
# What an idle on-demand node gives to batches, of all that it could do: see `consumers.posture`.
SPARE_SHARE: Final = 0.25
# Slots of a node, until one tells.
SLOTS: Final = 8
# How long before its first batch the events are read that tell of the nodes that began it.
BEFORE_S: Final = 3600.0
LOAD_S: Final = 10.0

log = logging.getLogger(__name__)
T = TypeVar("T")


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One look. sight: None where the provider told nothing. troubles: what could not be read."""

    snapshot: Snapshot
    sight: Sight | None
    troubles: tuple[str, ...] = ()


class World:
    """Looks at one model's pool. woken: called when a batch came or moved on."""

    def __init__(
        self,
        connection: Connection,
        model: str,
        *,
        hands: Hands,
        quotes: Quotes,
        zones: Collection[str],
        woken: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._connection = connection
        self._model = model
        self._hands = hands
        self._quotes = quotes
        self._zones = tuple(zones)
        self._woken = woken
        self._now = now
        self._nodes = Nodes(connection)
        self._events = EventLog(connection)
        self._batches: dict[str, Submitted] = {}
        self._news = BucketNews(connection, BATCHES, Manifest, self._take_batch)
        self._progress = Progress(model)
        self._reclaims = Reclaims()
        self._read_to = 0
        self._happened: list[Happening] = []

    async def follow(self) -> None:
        """Keep the list of batches fresh until cancelled."""
        await self._news.follow()

    async def read_events(self) -> None:
        """Read on; at first what concerns the batches that are open. Standing by needs no more.

        Raises BrokerRefused, BrokerUnreachable.
        """
        await self._loaded()
        oldest = min((one.created_at for one in self._batches.values()), default=self._now())
        async for recorded in self._events.read(self._read_to, since=oldest - BEFORE_S):
            self._read_to = recorded.sequence
            self._progress.take(recorded.event, written_at=recorded.written_at)
        self._progress.keep(self._batches.keys())

    async def _loaded(self) -> None:
        """Wait until the batches are known: without them nobody can say what events are about."""
        try:
            async with asyncio.timeout(LOAD_S):
                await self._news.loaded.wait()
        except TimeoutError as error:
            raise BrokerUnreachable(
                f"the batches could not be read within {LOAD_S:.0f} s: see `fleet doctor`"
            ) from error

    def heard(self, happened: Collection[Happening]) -> None:
        """Take note of what came of a decision, for the next snapshot."""
        self._happened += happened

    def settled(self) -> None:
        """Forget what happened: the policy has taken it in."""
        self._happened.clear()

    async def look(self, *, paused: bool, falls_back: bool, realtime: int) -> Seen:
        """Look once. falls_back: on-demand nodes work for batches, which they do slower.

        realtime: how many on-demand nodes are there for real-time.
        """
        troubles: list[str] = []
        await _tried(self.read_events(), "events", troubles)
        nodes = await _tried(self._living(), "heartbeats", troubles)
        work = await _tried(self._work(), "the queues", troubles)
        load = await _tried(self._load(nodes or (), realtime), "real-time load", troubles)
        sight = await self._hands.look(nodes)
        if isinstance(sight, Fault):
            troubles.append(f"the provider: {sight.text}")
            known = None
        else:
            known = sight
            self._happened += sight.happened
        self._happened += self._progress.take_reclaimed()
        return Seen(
            snapshot=await self._snapshot(
                known, work, load if nodes is not None else None, paused=paused,
                falls_back=falls_back,
            ),
            sight=known,
            troubles=tuple(troubles),
        )  # fmt: skip

    async def _snapshot(
        self, sight: Sight | None, work: tuple[Work, ...] | None, load: Load | None, *,
        paused: bool, falls_back: bool,
    ) -> Snapshot:  # fmt: skip
        now = self._now()
        zones = None
        if sight is not None:
            names = sorted({*self._zones, *(one.zone for one in sight.members)})
            prices = dict(await self._quotes.of(names))
            self._reclaims.saw(sight.members, self._happened, now=now)
            for zone, price in prices.items():
                prices[zone] = msgspec.structs.replace(
                    price, reclaims_per_h=self._reclaims.per_hour(zone)
                )
            zones = count(sight.members, prices)
        return Snapshot(
            now=now,
            work=work,
            zones=zones,
            load=load,
            startup_s=self._progress.startup_s(),
            item_s=self._progress.pool_item_s(falls_back=falls_back),
            happened=tuple(self._happened),
            # JetStream serves by arrival.
            order="arrival",
            paused=paused,
        )

    async def _living(self) -> Sequence[Node]:
        return [one for one in await self._nodes.list() if one.model == self._model]

    async def _work(self) -> tuple[Work, ...]:
        await self._loaded()
        queued = await backlog(self._connection, Tier.BATCH, self._model)
        background = await backlog(self._connection, Tier.BACKGROUND, self._model)
        return workload(
            self._batches.values(), self._progress, queued, background=sum(background.values())
        )

    async def _load(self, nodes: Sequence[Node], realtime: int) -> Load:
        """Say how much of the on-demand nodes real-time keeps busy, and what batches may use."""
        jobs = sum((await backlog(self._connection, Tier.REALTIME, self._model)).values())
        ready = [one for one in nodes if one.capacity_type == "on-demand" and one.state == "ready"]
        slots = max((one.slots for one in ready), default=0) or SLOTS
        busy = jobs / slots
        idle = max(0.0, min(len(ready), realtime) - busy)
        return Load(busy=busy, spare=SPARE_SHARE * idle)

    def _take_batch(self, key: str, value: Manifest | None) -> None:
        manifest, known = value, self._batches.pop(key, None)
        if (
            manifest is not None
            and manifest.model == self._model
            and manifest.state in OPEN
            and key == batch_key(manifest.tenant, manifest.id)
        ):
            self._batches[key] = submitted(manifest)
        if known != self._batches.get(key):
            self._woken()


async def _tried(reading: Awaitable[T], what: str, troubles: list[str]) -> T | None:
    try:
        return await reading
    except (BrokerRefused, BrokerUnreachable) as error:
        troubles.append(f"{what}: {error}")
        log.warning("a part of the pool was not read", extra={"part": what, "error": str(error)})
        return None
