"""The ledger of today and of the last hour, made anew now and then from what was heard."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Final

import msgspec

from dashboard.live.events import Heard
from dashboard.live.nodes import NodeLook
from dashboard.snapshot import CostFact, Spend
from fleet.broker.connection import Connection
from fleet.cost import Report, report
from fleet.events import AnyEvent
from fleet.ledger import ledger
from fleet.lives import Life, lives
from fleet.prices import DAY_S, PriceBook
from fleet.pricing import Pricing

HOUR_S: Final = 3600.0
_EVERY_S: Final = 10.0
# A minute apart, as the past of the last hour is.
_MARKS: Final = 60
# The ledger of a large fleet takes a while to make. It gets so much of one core.
_SHARE: Final = 0.05
# Rows of tenants and batches that are kept, dearest first.
_MOST_ROWS: Final = 200
# Interruptions that a report keeps, newest last.
_MOST_ENDS: Final = 50


class MoneyLook:
    """Makes the ledger. fact: as it was made last. pause_s: until it is due again."""

    def __init__(self, heard: Heard, nodes: NodeLook, book: PriceBook) -> None:
        self._heard = heard
        self._nodes = nodes
        self._book = book
        self.fact: CostFact | None = None
        self.pause_s = _EVERY_S

    async def look(self, _: Connection, now: float) -> None:
        """Make it from what was heard by now; nobody is asked for it.

        Raises ProcessError if an account does not add up.
        """
        events, beats = tuple(self._heard.told), self._nodes.beats
        since = now if self._heard.since is None else self._heard.since
        self.fact, took_s = await asyncio.to_thread(
            _timed, events, beats, self._book, since=since, now=now
        )
        self.pause_s = max(_EVERY_S, took_s / _SHARE)


def _timed(
    events: Sequence[AnyEvent],
    beats: Mapping[str, float],
    book: PriceBook,
    *,
    since: float,
    now: float,
) -> tuple[CostFact, float]:
    """Make it, and say how many seconds of the processor that took."""
    began = time.thread_time()
    fact = cost_fact(events, beats, book, since=since, now=now)
    return fact, time.thread_time() - began


def cost_fact(
    events: Iterable[AnyEvent],
    beats: Mapping[str, float],
    book: PriceBook,
    *,
    since: float,
    now: float,
) -> CostFact:
    """Make the ledger of events that were read from `since` on. now: seconds since the epoch."""
    found = lives(events, {name: min(at, now) for name, at in beats.items()}, now=now)
    pricing = Pricing(book, found)
    midnight = now - now % DAY_S
    today = ledger(found, pricing.paid, since=midnight)
    hour = ledger(found, pricing.paid, since=now - HOUR_S)
    whole = report(today, pricing.on_demand, by="pool", since=midnight)
    by_tenant = report(today, pricing.on_demand, by="tenant", since=midnight)
    by_batch = report(today, pricing.on_demand, by="batch", since=midnight)
    last = report(hour, pricing.on_demand, by="pool", since=now - HOUR_S)
    return CostFact(
        today=_trimmed(whole),
        hour=_trimmed(last),
        since=since if since > midnight else None,
        ends_today=len(whole.interruptions),
        ends_hour=len(last.interruptions),
        spend=tuple(_spend(found, pricing, now)),
        tenants=by_tenant.rows[:_MOST_ROWS],
        batches=by_batch.rows[:_MOST_ROWS],
        doubts=tuple(islice(pricing.doubts(today), _MOST_ENDS)),
    )


def _spend(found: Sequence[Life], pricing: Pricing, now: float) -> Iterable[Spend]:
    """Say what the machines cost an hour, at each minute of the last hour."""
    late = [life for life in found if life.is_alive or life.end >= now - HOUR_S]
    priced = [(life, pricing.paid(life)) for life in late]
    for mark in range(_MARKS):
        at = now - HOUR_S + (mark + 1) * HOUR_S / _MARKS
        alive = [
            series
            for life, series in priced
            if life.start <= at and (at <= life.end or life.is_alive)
        ]
        prices = [series.at(at) for series in alive if series is not None]
        known = len(prices) == len(alive)
        yield Spend(at, sum(prices) if known and alive else None, len(alive))


def _trimmed(whole: Report) -> Report:
    return msgspec.structs.replace(
        whole,
        rows=whole.rows[:_MOST_ROWS],
        interruptions=whole.interruptions[-_MOST_ENDS:],
        unmetered=whole.unmetered[:_MOST_ENDS],
    )
