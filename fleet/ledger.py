"""What every second of a fleet went for: lives and prices to entries, which sum to the bill."""

import math
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias, get_args

import msgspec

from fleet.errors import ProcessError
from fleet.events import (
    EngineLost,
    NodeDraining,
    NodeGone,
    NodeLaunched,
    NodeMetered,
    NodeReady,
    NodeResumed,
    NodeStarted,
    NodeStopped,
    UsageRecorded,
)
from fleet.job import Tier
from fleet.lives import Life, Told
from fleet.prices import DAY_S, Series

Part: TypeAlias = Literal[
    "useful", "in_hand", "start_up", "lost", "drain_tail", "checkpoint_stall", "idle"
]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
# In which of these a node is; what is left of its time then goes for the part beside it.
_Phase: TypeAlias = Literal["ready", "draining", "loading"]
_REST: Final[dict[_Phase, Part]] = {
    "ready": "idle", "draining": "drain_tail", "loading": "start_up",
}  # fmt: skip
_PHASE_OF: Final[dict[str, _Phase]] = {
    "loading": "loading", "ready": "ready", "draining": "draining", "drained": "draining",
}  # fmt: skip
_BEFORE: Final = ""
SeriesOf: TypeAlias = Callable[[Life], Series | None]


class Use(msgspec.Struct, frozen=True):
    """For whom a node worked."""

    tenant: str
    tier: Tier
    batch: str | None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A sum in the ledger: what one node's time went for on one day (UTC, `2027-01-31`).

    use: of useful time. usd: 0 where the node's price is not known.
    """

    day: str
    part: Part
    use: Use | None
    seconds: float
    usd: float


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A node's life, priced and taken apart.

    seconds, usd: its bill from its start, or that of the window, to its end. usd: None where its
    price is not known. metered: whether it told how it spent its time; else all of it is idle.
    """

    life: Life
    seconds: float
    usd: float | None
    metered: bool
    entries: tuple[Entry, ...]

    def sum_of(self, part: Part) -> tuple[float, float]:
        """Return the seconds and USD of one part."""
        entries = [entry for entry in self.entries if entry.part == part]
        return sum(e.seconds for e in entries), sum(e.usd for e in entries)


def ledger(
    lives: Iterable[Life], series_of: SeriesOf, *, since: float = -math.inf
) -> list[Account]:
    """Open an account for every life that reaches into the window, which begins at `since`.

    Raises ProcessError if the parts of a life do not sum to its bill: then this is wrong, and no
    figure of it is to be believed.
    """
    accounts = [_account(life, series_of(life), since) for life in lives if life.end > since]
    for account in accounts:
        _check(account)
    return accounts


def _account(life: Life, series: Series | None, since: float) -> Account:
    start = min(max(life.start, since), life.end)
    fold = _Fold(life, series, since)
    for event in life.events:
        fold.take(event)
    return Account(
        life=life,
        seconds=life.end - start,
        usd=None if series is None else series.cost(start, life.end),
        metered=fold.metered,
        entries=fold.close(),
    )


def _check(account: Account) -> None:
    """I9: the parts are the bill, which is computed from start and end alone."""
    seconds = math.fsum(entry.seconds for entry in account.entries)
    usd = math.fsum(entry.usd for entry in account.entries)
    least = min((min(entry.seconds, entry.usd) for entry in account.entries), default=0.0)
    bill = account.usd or 0.0
    if (
        least < 0
        or not math.isclose(seconds, account.seconds, rel_tol=1e-9, abs_tol=1e-6)
        or not math.isclose(usd, bill, rel_tol=1e-9, abs_tol=1e-6)
    ):
        raise ProcessError(
            f"the ledger of {account.life.node} is wrong: its parts are {seconds:.3f} s and "
            f"{usd:.6f} USD, its bill {account.seconds:.3f} s and {bill:.6f} USD, the least entry "
            f"{least}; keep the stream EVENTS and report this"
        )


class _Pot:
    """Time that is paid for, by day, on its way to where it belongs."""

    def __init__(self) -> None:
        self._by_day: dict[str, tuple[float, float]] = {}
        self.seconds = 0.0

    def add(self, day: str, seconds: float, usd: float) -> None:
        had_s, had_usd = self._by_day.get(day, (0.0, 0.0))
        self._by_day[day] = had_s + seconds, had_usd + usd
        self.seconds += seconds

    def pour(self, seconds: float, into: Callable[[str, float, float], None]) -> float:
        """Move as much of `seconds` as there is, of every day its share; return how much."""
        if seconds <= 0 or not self._by_day:
            return 0.0
        moved, all_of_it = min(seconds, self.seconds), seconds >= self.seconds
        share = 1.0 if all_of_it else moved / self.seconds
        taken = {day: (s * share, usd * share) for day, (s, usd) in self._by_day.items()}
        self._by_day = {} if all_of_it else {
            day: (s - taken[day][0], usd - taken[day][1])
            for day, (s, usd) in self._by_day.items()
        }  # fmt: skip
        self.seconds = 0.0 if all_of_it else self.seconds - moved
        for day, (part_s, usd) in taken.items():
            into(day, part_s, usd)
        return moved


class _Fold:
    """Takes one life's events in order.

    Time is waiting in the pot of its phase until the node's next meter says how much of it the
    engine worked. What it worked is in hand until a usage record says that its product is safe.
    """

    def __init__(self, life: Life, series: Series | None, since: float) -> None:
        self._life = life
        self._series = series
        self._since = since
        self._now = life.start
        self._phase: _Phase = "loading"
        self._waiting: dict[_Phase, _Pot] = {phase: _Pot() for phase in _REST}
        self._in_hand = _Pot()
        self._safe: list[tuple[Use, float]] = []
        self._busy_s = self._stall_s = 0.0
        self._items = 0
        self._sums: dict[tuple[str, Part, Use | None], tuple[float, float]] = {}
        self.metered = False

    def take(self, event: Told) -> None:
        """Take the next event."""
        self._advance(event.at)
        match event:
            case NodeMetered():
                self._meter(event)
            case UsageRecorded() if event.engine_s > 0:
                use = Use(event.tenant, event.tier, event.batch)
                self._safe.append((use, event.engine_s))
                self._secure()
            case NodeReady() | NodeResumed():
                self._phase = "ready"
            case NodeDraining() | NodeStopped():
                self._phase = "draining"
            case NodeLaunched() | NodeStarted() | EngineLost():
                self._phase = "loading"
            case NodeGone() | UsageRecorded():
                pass

    def close(self) -> tuple[Entry, ...]:
        """Say of all that is still open what it was; return the entries."""
        life, waiting = self._life, self._waiting
        self._advance(life.end)
        if self._items:
            # Who vanished took with it what it did since it told of it, and what was in hand.
            for phase in ("ready", "draining"):
                waiting[phase].pour(math.inf, self._in_hand.add)
        self._settle()
        self._in_hand.pour(math.inf, self._to("in_hand" if life.is_alive else "lost"))
        return tuple(
            Entry(day=day, part=part, use=use, seconds=seconds, usd=usd)
            for (day, part, use), (seconds, usd) in self._sums.items()
            if day != _BEFORE and seconds > 0
        )

    def _meter(self, event: NodeMetered) -> None:
        busy_s, stall_s = event.busy_s - self._busy_s, event.stall_s - self._stall_s
        for phase in self._waiting:
            busy_s -= self._waiting[phase].pour(busy_s, self._in_hand.add)
        for phase in self._waiting:
            stall_s -= self._waiting[phase].pour(stall_s, self._to("checkpoint_stall"))
        self._settle()
        self._secure()
        self._busy_s = max(self._busy_s, event.busy_s)
        self._stall_s = max(self._stall_s, event.stall_s)
        self._items = event.items
        self._phase = _PHASE_OF[event.state]
        self.metered = True

    def _settle(self) -> None:
        for phase, pot in self._waiting.items():
            pot.pour(math.inf, self._to(_REST[phase]))

    def _secure(self) -> None:
        """Book as useful what is safe, as far as the meter has told of the time that it took."""
        while self._safe and self._in_hand.seconds > 0:
            use, seconds = self._safe.pop(0)
            moved = self._in_hand.pour(seconds, self._to("useful", use))
            if moved < seconds:
                self._safe.insert(0, (use, seconds - moved))

    def _advance(self, until: float) -> None:
        """Let time pass; an event from before changes what is, but no time that was booked."""
        until = min(until, self._life.end)
        while self._now < until:
            step = min(until, _next_break(self._now, self._since))
            usd = 0.0 if self._series is None else self._series.cost(self._now, step)
            day = _BEFORE if self._now < self._since else day_of(self._now)
            self._waiting[self._phase].add(day, step - self._now, usd)
            self._now = step

    def _to(self, part: Part, use: Use | None = None) -> Callable[[str, float, float], None]:
        def book(day: str, seconds: float, usd: float) -> None:
            key = (day, part, use)
            had_s, had_usd = self._sums.get(key, (0.0, 0.0))
            self._sums[key] = had_s + seconds, had_usd + usd

        return book


def uses(account: Account, *, since: float = -math.inf) -> Iterator[UsageRecorded]:
    """Yield what a node recorded of its work within the window."""
    for event in account.life.events:
        if isinstance(event, UsageRecorded) and event.at >= since:
            yield event


def _next_break(at: float, since: float) -> float:
    """Find where the next day, or the window, begins."""
    midnight = (math.floor(at / DAY_S) + 1) * DAY_S
    return min(midnight, since) if at < since else midnight


def day_of(at: float) -> str:
    """Name the day of a moment, in UTC: `2027-01-31`."""
    return datetime.fromtimestamp(at, UTC).date().isoformat()
