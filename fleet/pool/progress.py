"""What events tell of a pool: how far its batches are, how fast it works, how long a start takes.

Nothing here asks anybody. Whatever is forgotten with a restart is told by the stored events again.
"""

import math
from collections import deque
from collections.abc import Collection, Sequence
from typing import Final

from fleet.events import (
    AnyEvent,
    Billed,
    NodeDraining,
    NodeReady,
    NodeStarted,
    UsageRecorded,
)
from fleet.job import CapacityType, Tier
from fleet.pool.snapshot import Reclaimed
from fleet.subjects import batch_key

# A pace is that of about the last so many items.
PACE_ITEMS: Final = 2000
STARTS: Final = 64
# A start that took longer was not waited for by anybody.
LONGEST_START_S: Final = 7200.0
# Who says, on a node, that the market wants it back.
MARKETS: Final = frozenset({"aws", "asg", "azure", "gcp"})
_MOST_NODES: Final = 20_000
_MOST_RECLAIMS: Final = 10_000


class Pace:
    """Node-seconds that an item takes, by records of work whose product is safe."""

    def __init__(self) -> None:
        self._engine_s = 0.0
        self._items = 0.0

    def add(self, engine_s: float, items: int) -> None:
        """Add a record; those of long ago count less and less."""
        self._engine_s += engine_s
        self._items += items
        if self._items > PACE_ITEMS:
            self._engine_s /= 2
            self._items /= 2

    @property
    def item_s(self) -> float | None:
        """Return the pace; None before the first item."""
        return self._engine_s / self._items if self._items and self._engine_s > 0 else None


class Progress:
    """A fold of the events of one model's pool."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._done: dict[str, int] = {}
        self._paces: dict[str, Pace] = {}
        self._by_type: dict[CapacityType, Pace] = {"spot": Pace(), "on-demand": Pace()}
        self._nodes: dict[str, Billed] = {}
        self._launches: dict[str, float] = {}
        self._started: deque[tuple[str, float]] = deque(maxlen=512)
        self._starts: deque[float] = deque(maxlen=STARTS)
        # Who stands by takes none for as long as another one leads.
        self._reclaimed: deque[Reclaimed] = deque(maxlen=_MOST_RECLAIMS)

    def take(self, event: AnyEvent, *, written_at: float) -> None:
        """Take the next event. written_at: by the server's clock; nodes' own may be wrong."""
        match event:
            case UsageRecorded() if event.model == self._model and event.tier is Tier.BATCH:
                self._use(event)
            case Billed() if event.model == self._model:
                self._meet(event)
            case NodeReady():
                self._ready(event)
            case NodeDraining() if event.cause in MARKETS and event.node in self._nodes:
                node = self._nodes[event.node]
                if node.capacity_type == "spot":
                    self._reclaimed.append(Reclaimed(zone=node.zone, at=written_at))
            case _:
                pass

    def done(self, batch: str) -> int:
        """Count the items of `<tenant>.<batch>` that have their line, good or bad."""
        return self._done.get(batch, 0)

    def item_s(self, batch: str) -> float | None:
        """Say how many node-seconds one item of a batch takes; None before the first."""
        pace = self._paces.get(batch)
        return None if pace is None else pace.item_s

    def pool_item_s(self, *, falls_back: bool) -> float | None:
        """Say the same of all batches. falls_back: on-demand nodes work for them, too.

        These keep room for real-time, so an item takes them longer: the slower pace counts then.
        """
        spot, on_demand = (self._by_type[kind].item_s for kind in ("spot", "on-demand"))
        if spot is None or on_demand is None:
            return on_demand if spot is None else spot
        return max(spot, on_demand) if falls_back else spot

    def startup_s(self) -> float | None:
        """Say how long it takes from launch to ready: the 90th percentile; None before any."""
        if not self._starts:
            return None
        times = sorted(self._starts)
        return times[math.ceil(0.9 * len(times)) - 1]

    def take_reclaimed(self) -> Sequence[Reclaimed]:
        """Return what the market took back since the last call."""
        found = tuple(self._reclaimed)
        self._reclaimed.clear()
        return found

    def keep(self, batches: Collection[str]) -> None:
        """Forget all but these."""
        self._done = {name: done for name, done in self._done.items() if name in batches}
        self._paces = {name: pace for name, pace in self._paces.items() if name in batches}

    def _use(self, event: UsageRecorded) -> None:
        node = self._nodes.get(event.node)
        if node is not None:
            self._by_type[node.capacity_type].add(event.engine_s, event.items)
        if event.batch is not None:
            key = batch_key(event.tenant, event.batch)
            self._done[key] = self._done.get(key, 0) + event.items
            self._paces.setdefault(key, Pace()).add(event.engine_s, event.items)

    def _meet(self, event: Billed) -> None:
        if event.node not in self._nodes and len(self._nodes) >= _MOST_NODES:
            oldest = next(iter(self._nodes))
            del self._nodes[oldest]
            self._launches.pop(oldest, None)
        self._nodes[event.node] = event
        if isinstance(event, NodeStarted):
            self._launches[event.node] = event.at if event.since is None else event.since

    def _ready(self, event: NodeReady) -> None:
        """Measure a start, unless its machine had been up before."""
        since, node = self._launches.pop(event.node, None), self._nodes.get(event.node)
        if since is None or node is None or (node.host, since) in self._started:
            return
        self._started.append((node.host, since))
        if 0 < event.at - since < LONGEST_START_S:
            self._starts.append(event.at - since)
