"""Queues: what waits, what is out, how old it is, and how fast it gets done."""

from collections import deque
from contextlib import suppress
from typing import Final

import msgspec

from dashboard.live.budget import OVERHEAD_BYTES, Budget
from dashboard.live.events import Heard
from dashboard.snapshot import QueueFact, Rates, TenantQueue
from fleet.broker.connection import Connection
from fleet.broker.tally import Counted, TierTally, dead_tally, tally
from fleet.errors import BrokerRefused, NotFound
from fleet.job import TIERS, Tier

# A durable's counts and its stream's are read one after the other: between them jobs come and go,
# so what seems to be stuck is so only if it was, at each of the looks of so long.
STEADY_S: Final = 10.0
_STEADY_LOOKS: Final = 3
# Dead letters come seldom.
_DEAD_EVERY_S: Final = 5.0
_BYTES_A_QUEUE: Final = 900


class Aged(msgspec.Struct, frozen=True):
    """What the look at jobs found of a tenant's queue. waiting: None where not counted."""

    oldest_at: float | None
    waiting: int | None = None


class QueueLook:
    """Counts queues. facts: as counted last. ages: put here by the look at jobs."""

    def __init__(self, heard: Heard, budget: Budget) -> None:
        self._heard = heard
        self._budget = budget
        self._tallies: dict[Tier, TierTally] = {}
        self._dead: dict[tuple[str, str, str], int] | None = None
        self._dead_at = float("-inf")
        self._stuck: dict[tuple[Tier, str], deque[tuple[float, int]]] = {}
        self.ages: dict[tuple[Tier, str, str], Aged] = {}
        self.facts: tuple[QueueFact, ...] = ()

    @property
    def jobs(self) -> int:
        """All jobs without an end."""
        return sum(sum(one.stored.values()) for one in self._tallies.values())

    @property
    def oldest_at(self) -> dict[Tier, float]:
        """When the oldest job of each tier was stored; nothing for a tier without any."""
        found = {tier: one.oldest_at for tier, one in self._tallies.items()}
        return {tier: at for tier, at in found.items() if at is not None}

    @property
    def dead(self) -> int | None:
        """All dead letters; None while they were not counted."""
        return None if self._dead is None else sum(self._dead.values())

    def delivered(self, tier: Tier, model: str) -> int:
        """Give the place of the last delivery in the stream of a tier."""
        counted = self._counted(tier, model)
        return counted.delivered_seq if counted else 0

    def queues(self, tier: Tier) -> dict[tuple[str, str], int]:
        """Count a tier's jobs by model and tenant."""
        found = self._tallies.get(tier)
        return found.stored if found else {}

    async def look(self, connection: Connection, now: float) -> None:
        """Count all of it. Raises NotFound without streams, BrokerRefused, BrokerUnreachable."""
        tallies: dict[Tier, TierTally] = {}
        for tier in Tier:
            found = await tally(connection, tier)
            if found is not None:
                tallies[tier] = found
                queues = len(found.stored) + len(found.durables)
                self._budget.took(messages=1 + queues * _BYTES_A_QUEUE // OVERHEAD_BYTES)
        if not tallies:
            raise NotFound("the broker has no queues yet: `fleet init` or `fleet up` makes them")
        self._tallies = tallies
        if now - self._dead_at >= _DEAD_EVERY_S:
            self._dead_at = now
            self._dead = None
            with suppress(BrokerRefused):  # not everybody may count them
                self._dead = await dead_tally(connection)
        stored = self._by_queue()
        self._note_stuck(stored, now)
        self.facts = tuple(
            self._fact(Tier(tier), model, tenants)
            for (tier, model), tenants in sorted(stored.items())
        )

    def _by_queue(self) -> dict[tuple[Tier, str], dict[str, int]]:
        """Sort all counts: queues with a durable, and those that lack one and hold jobs."""
        found: dict[tuple[Tier, str], dict[str, int]] = {}
        for tier, counts in self._tallies.items():
            for model in counts.durables:
                found[tier, model] = {}
            for (model, tenant), jobs in counts.stored.items():
                found.setdefault((tier, model), {})[tenant] = jobs
        for tier_name, model, tenant in self._dead or ():
            # Of a queue that is no more, nothing else is known.
            if tier_name in TIERS and (Tier(tier_name), model) in found:
                found[Tier(tier_name), model].setdefault(tenant, 0)
        return found

    def _fact(self, tier: Tier, model: str, stored: dict[str, int]) -> QueueFact:
        counted = self._counted(tier, model)
        with_jobs = sum(jobs > 0 for jobs in stored.values())
        tenants = tuple(
            self._tenant(
                tier, model, tenant, jobs, counted.pending if counted and with_jobs == 1 else None
            )
            for tenant, jobs in sorted(stored.items())
        )
        if counted is None:
            return QueueFact(tier=tier, model=model, exists=False, tenants=tenants)
        return QueueFact(
            tier=tier,
            model=model,
            waiting=counted.pending,
            in_flight=counted.ack_pending,
            redelivered=counted.redelivered,
            stuck=self._stuck_of(tier, model),
            paused_s=counted.paused_s,
            tenants=tenants,
        )

    def _tenant(
        self, tier: Tier, model: str, tenant: str, stored: int, waiting: int | None
    ) -> TenantQueue:
        aged = self.ages.get((tier, model, tenant))
        progress = self._heard.queues.get((tier, model, tenant))
        if stored == 0:
            waiting = 0
        elif waiting is None and aged is not None:
            waiting = aged.waiting
        return TenantQueue(
            tenant=tenant,
            stored=stored,
            waiting=waiting,
            oldest_at=aged.oldest_at if aged and stored else None,
            jobs_per_s=progress.jobs_pace.rates() if progress else Rates(),
            dead=None if self._dead is None else self._dead.get((tier, model, tenant), 0),
        )

    def _counted(self, tier: Tier, model: str) -> Counted | None:
        found = self._tallies.get(tier)
        return found.durables.get(model) if found else None

    def _note_stuck(self, stored: dict[tuple[Tier, str], dict[str, int]], now: float) -> None:
        for (tier, model), tenants in stored.items():
            counted = self._counted(tier, model)
            if counted is None:
                continue
            seen = max(0, sum(tenants.values()) - counted.pending - counted.ack_pending)
            looks = self._stuck.setdefault((tier, model), deque())
            looks.append((now, seen))
            while len(looks) > _STEADY_LOOKS and looks[1][0] < now - STEADY_S:
                looks.popleft()

    def _stuck_of(self, tier: Tier, model: str) -> int | None:
        looks = self._stuck.get((tier, model), deque())
        least = min((seen for _, seen in looks), default=0)
        return least if least == 0 or len(looks) >= _STEADY_LOOKS else None
