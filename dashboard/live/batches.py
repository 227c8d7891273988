"""Batches and pools: what was asked for, how far it is, and what the managers think of it."""

from typing import Final

import msgspec

from dashboard.live.budget import Budget
from dashboard.live.events import Heard, Progress
from dashboard.live.watch import Watch
from dashboard.snapshot import BatchFact, PoolFact, Rates
from fleet.bounds import Count
from fleet.broker.connection import Connection
from fleet.manifest import Manifest
from fleet.subjects import BATCHES, POLICY, batch_key

# Of the batches that have ended, so many are shown.
MOST_ENDED: Final = 200
_OPEN: Final = frozenset({"submitting", "submitted", "cancelling"})
_POOL: Final = "pool."


class _AtRisk(msgspec.Struct, frozen=True):
    batch: str
    short_by: float = 0.0
    late_s: float | None = None


class _Reason(msgspec.Struct, frozen=True):
    code: str
    text: str


class _Decision(msgspec.Struct, frozen=True):
    spot: Count
    fallback: Count
    realtime: Count
    batch_fallback: bool
    carry_out: bool = True
    reasons: tuple[_Reason, ...] = ()
    at_risk: tuple[_AtRisk, ...] = ()


class _Standing(msgspec.Struct, frozen=True):
    """What a pool's manager keeps in the bucket `policy`, as far as it is shown."""

    at: float
    by: str
    model: str
    decision: _Decision
    troubles: tuple[str, ...] = ()


class PoolLook:
    """Reads how each pool stands. at_risk: what is said of batches, by `<tenant>.<batch>`."""

    def __init__(self, budget: Budget) -> None:
        self._watch = Watch(POLICY, _Standing, budget)
        self._pools: dict[str, _Standing] = {}
        self.at_risk: dict[str, str] = {}

    def restart(self) -> None:
        """Read all of it again with the next look."""
        self._watch.restart()

    async def look(self, connection: Connection, _: float) -> None:
        """Read what is new. Raises BrokerRefused, BrokerUnreachable."""
        for change in await self._watch.changes(connection):
            # The bucket holds switches, too, which are no such thing.
            if change.value is None or not change.key.startswith(_POOL):
                self._pools.pop(change.key, None)
            else:
                self._pools[change.key] = change.value
        self.at_risk = {
            one.batch: _risk(one) for pool in self._pools.values() for one in pool.decision.at_risk
        }

    def facts(self) -> tuple[PoolFact, ...]:
        """Give the pools, by model."""
        return tuple(_fact(self._pools[key]) for key in sorted(self._pools))


class BatchLook:
    """Reads batches. since: what was finished before then, nobody counted."""

    def __init__(self, heard: Heard, pools: PoolLook, budget: Budget) -> None:
        self._watch = Watch(BATCHES, Manifest, budget)
        self._heard = heard
        self._pools = pools
        self._batches: dict[str, Manifest] = {}
        self._shown: tuple[Manifest, ...] = ()

    def restart(self) -> None:
        """Read all of it again with the next look."""
        self._watch.restart()

    @property
    def oldest_open(self) -> float | None:
        """When the oldest batch that has not ended was made, in seconds since the epoch."""
        made = [one.created_at for one in self._batches.values() if one.state in _OPEN]
        return min(made, default=None)

    async def look(self, connection: Connection, now: float) -> None:
        """Read what is new. Raises BrokerRefused, BrokerUnreachable."""
        for change in await self._watch.changes(connection):
            one = change.value
            if one is None or change.key != batch_key(one.tenant, one.id):
                self._batches.pop(change.key, None)
            else:
                self._batches[change.key] = one
        order = sorted(self._batches.values(), key=lambda one: -one.created_at)
        ended = [one for one in order if one.state not in _OPEN][:MOST_ENDED]
        self._shown = (*(one for one in order if one.state in _OPEN), *ended)
        self._heard.keep({(one.tenant, one.id) for one in self._shown}, now)

    def facts(self) -> tuple[BatchFact, ...]:
        """Give those that are open, and the newest of those that have ended."""
        return tuple(map(self._fact, self._shown))

    def _fact(self, one: Manifest) -> BatchFact:
        progress = self._heard.batches.get((one.tenant, one.id))
        done, failed = self._done(one, progress)
        return BatchFact(
            tenant=one.tenant,
            batch=one.id,
            model=one.model,
            tier=one.tier,
            state=one.state,
            created_at=one.created_at,
            jobs=one.jobs,
            items=one.items,
            submitted_jobs=one.submitted_jobs,
            deadline=one.deadline,
            done=done,
            failed=failed,
            items_per_s=progress.items_pace.rates() if progress else Rates(),
            interruptions=progress.interruptions if progress else 0,
            at_risk=self._pools.at_risk.get(batch_key(one.tenant, one.id), ""),
        )

    def _done(self, one: Manifest, progress: Progress | None) -> tuple[int | None, int | None]:
        """Count the items that have a line; None where a part of them was not heard of."""
        since = self._heard.since
        if since is None or one.created_at < since:
            return (one.items, None) if one.state == "completed" else (None, None)
        if progress is None:
            return (one.items, None) if one.state == "completed" else (0, 0)
        return min(one.items, progress.items), progress.failed


def _fact(pool: _Standing) -> PoolFact:
    decision = pool.decision
    return PoolFact(
        model=pool.model,
        at=pool.at,
        by=pool.by,
        spot=decision.spot,
        fallback=decision.fallback,
        realtime=decision.realtime,
        batch_fallback=decision.batch_fallback,
        paused=not decision.carry_out,
        reasons=tuple(reason.text for reason in decision.reasons),
        troubles=pool.troubles,
        at_risk=tuple(one.batch for one in decision.at_risk),
    )


def _risk(one: _AtRisk) -> str:
    late = "nobody works for it" if one.late_s is None else f"{one.late_s / 60:.0f} min late"
    return f"{one.short_by:.1f} nodes too few, {late}"
