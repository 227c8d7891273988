"""The pool manager: looks, decides, acts and says why, every few seconds and whenever it is woken.

It keeps nothing that the world does not tell again: who starts it anew goes on from the provider's
list, the heartbeats, the queues, the events, and what the one before said last.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Never, Protocol

import msgspec

from fleet.errors import BrokerRefused, BrokerUnreachable, CorruptRecord
from fleet.events import Emit, PoolDecided
from fleet.pool.decision import Code, Decision, Memory, Outlook
from fleet.pool.hands import Hands
from fleet.pool.knobs import Knobs
from fleet.pool.outlook import outlook
from fleet.pool.policy import decide
from fleet.pool.snapshot import Happening, Snapshot
from fleet.pool.switches import Paused, Standing, remembered
from fleet.pool.world import Seen

TICK_S: Final = 10.0
# However often it is woken.
LEAST_TICK_S: Final = 1.0
# While these hold, what happened is not taken in by the policy.
_HOLDS: Final[frozenset[Code]] = frozenset({"clock_jump"})

log = logging.getLogger(__name__)


class Leading(Protocol):
    """Whether we may act. changed: set when that changes."""

    changed: asyncio.Event

    @property
    def leads(self) -> bool: ...


class Eyes(Protocol):
    """Looks at the world."""

    async def read_events(self) -> None: ...
    async def look(self, *, paused: bool, falls_back: bool, realtime: int) -> Seen: ...
    def heard(self, happened: list[Happening]) -> None: ...
    def settled(self) -> None: ...


class Board(Protocol):
    """The keys that operators, consumers and we share."""

    async def knobs(self) -> Knobs | None: ...
    async def paused(self) -> Paused | None: ...
    async def fallback(self) -> bool: ...
    async def turn_fallback(self, *, on: bool) -> None: ...
    async def tell(self, standing: Standing) -> None: ...
    async def standing(self) -> Standing | None: ...


class Manager:
    """Runs one model's pool.

    me: its name for people. knobs: where no operator set any. woken: set by whoever wants the next
    look soon. tick_s: between two looks that nobody asked for, at least LEAST_TICK_S. alive: called
    after each look.
    """

    def __init__(
        self,
        *,
        model: str,
        me: str,
        provider: str,
        eyes: Eyes,
        hands: Hands,
        leading: Leading,
        board: Board,
        emit: Emit,
        knobs: Knobs,
        now: Callable[[], float] = time.time,
        woken: asyncio.Event | None = None,
        tick_s: float = TICK_S,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._model = model
        self._me = me
        self._provider = provider
        self._eyes = eyes
        self._hands = hands
        self._leading = leading
        self._board = board
        self._emit = emit
        self._now = now
        self._knobs = knobs
        self._memory = Memory()
        self._led = False
        self._paused = False
        # Whether all that operators set was read since we lead: no guess of ours stands in for it.
        self._told = False
        # What the switch says; None where it could not be read, and is turned in any case.
        self._fallback: bool | None = None
        self._said: object = None
        self._last: tuple[Snapshot, Decision] | None = None
        self._woken = woken or asyncio.Event()
        self._tick_s = tick_s
        self._alive = alive

    async def run(self) -> Never:
        """Go on until cancelled."""
        while True:
            self._woken.clear()
            self._leading.changed.clear()
            await self.tick()
            self._alive()
            await asyncio.sleep(LEAST_TICK_S)
            await self._rest(self._tick_s - LEAST_TICK_S)

    async def tick(self) -> Decision | None:
        """Look, decide and act once; None while another manager leads."""
        if not self._leading.leads:
            await self._stand_by()
            return None
        if not self._led:
            await self._take_over()
        troubles = await self._read_switches()
        seen = await self._eyes.look(
            paused=self._paused or not self._told,
            falls_back=bool(self._fallback),
            realtime=max(self._knobs.baseline, self._memory.realtime or 0),
        )
        troubles += seen.troubles
        if seen.snapshot.item_s is None and self._memory.item_s is None:
            guessed = msgspec.structs.replace(seen.snapshot, item_s=self._knobs.tuning.item_s)
            seen = msgspec.structs.replace(seen, snapshot=guessed)
        decision = decide(seen.snapshot, self._knobs, self._memory)
        self._memory = decision.memory
        self._last = seen.snapshot, decision
        if seen.sight is not None and not any(one.code in _HOLDS for one in decision.reasons):
            self._eyes.settled()
        self._say(decision)
        if decision.carry_out and self._leading.leads:
            troubles += await self._act(seen, decision)
        await self._tell(seen, decision, troubles)
        return decision

    def why(self, batch: str) -> Outlook | None:
        """Say how a batch stood at the last look; None for one that had no open items then."""
        if self._last is None:
            return None
        snapshot, decision = self._last
        return outlook(snapshot, self._knobs, decision, batch)

    async def _rest(self, for_s: float) -> None:
        async with asyncio.TaskGroup() as group:
            waits = [
                group.create_task(self._woken.wait()),
                group.create_task(self._leading.changed.wait()),
            ]
            await asyncio.wait(waits, timeout=for_s, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    async def _stand_by(self) -> None:
        """Keep up with events, so that taking over takes no time."""
        if self._led:
            log.warning(
                "another manager may lead: this one stands by", extra={"model": self._model}
            )
            self._led = False
            self._last = None
            self._hands.forget()
        with suppress(BrokerRefused, BrokerUnreachable):
            await self._eyes.read_events()

    async def _take_over(self) -> None:
        """Go on from what the manager before us remembered."""
        self._led = True
        self._told = False
        self._fallback = None
        self._hands.forget()
        standing = None
        try:
            standing = await self._board.standing()
            self._fallback = await self._board.fallback()
        except (BrokerRefused, BrokerUnreachable, CorruptRecord) as error:
            log.warning("not all is known from before", extra={"error": str(error)})
        if standing is None:
            # Spot is waited for before on-demand is bought, as long as the deadlines allow: that
            # there is none has to be seen first.
            self._memory = Memory(usual_spot=float(self._knobs.most_spot))
        else:
            self._memory = remembered(standing, now=self._now())

    async def _read_switches(self) -> tuple[str, ...]:
        """Read what operators set; what cannot be read stays as it was."""
        troubles: list[str] = []
        for what, read in (
            ("the pause", self._read_paused),
            ("the knobs", self._read_knobs),
        ):
            try:
                await read()
            except (BrokerRefused, BrokerUnreachable, CorruptRecord) as error:
                troubles.append(f"{what} could not be read: {error}")
        self._told = self._told or not troubles
        if troubles:
            meanwhile = "the last of it counts" if self._told else "nothing is done until it is"
            troubles.append(f"{meanwhile}; `fleet pool set` and `resume` write it anew")
        return tuple(troubles)

    async def _read_paused(self) -> None:
        self._paused = await self._board.paused() is not None

    async def _read_knobs(self) -> None:
        self._knobs = await self._board.knobs() or self._knobs

    async def _act(self, seen: Seen, decision: Decision) -> tuple[str, ...]:
        troubles: tuple[str, ...] = ()
        if decision.batch_fallback != self._fallback:
            try:
                await self._board.turn_fallback(on=decision.batch_fallback)
                self._fallback = decision.batch_fallback
            except (BrokerRefused, BrokerUnreachable) as error:
                troubles = (f"the switch for batch fallback was not turned: {error}",)
        if seen.sight is None:
            return troubles
        happened = await self._hands.carry_out(
            decision,
            seen.sight,
            most=self._knobs.tuning.launches_per_tick,
            sure=lambda: self._leading.leads,
        )
        if happened:
            # Who was refused in one zone asks in the next, and at once.
            self._eyes.heard(happened)
            self._woken.set()
        return troubles

    def _say(self, decision: Decision) -> None:
        """Emit a decision that changes something."""
        at_risk = tuple(one.batch for one in decision.at_risk)
        steps = (decision.launches, decision.releases) if decision.carry_out else ()
        key = (
            decision.spot, decision.fallback, decision.realtime, decision.batch_fallback, at_risk,
            steps,
        )  # fmt: skip
        if key == self._said:
            return
        self._said = key
        self._emit(
            PoolDecided(
                at=decision.at,
                node=self._me,
                model=self._model,
                spot=decision.spot,
                fallback=decision.fallback,
                realtime=decision.realtime,
                batch_fallback=decision.batch_fallback,
                reasons=tuple(one.text for one in decision.reasons),
                at_risk=at_risk[:20],
            )
        )

    async def _tell(self, seen: Seen, decision: Decision, troubles: tuple[str, ...]) -> None:
        snapshot = seen.snapshot
        standing = Standing(
            at=snapshot.now,
            by=self._me,
            model=self._model,
            provider=self._provider,
            knobs=self._knobs,
            decision=decision,
            zones=snapshot.zones or (),
            troubles=troubles,
            open_batches=len(snapshot.work or ()),
            at_risk=len(decision.at_risk),
            machines=len(seen.sight.members) if seen.sight else 0,
        )
        try:
            await self._board.tell(standing)
        except (BrokerRefused, BrokerUnreachable) as error:
            log.warning("how the pool stands was not told", extra={"error": str(error)})
