"""What operators and the manager tell each other of a pool: keys of the bucket `policy`."""

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from fleet.broker.connection import Connection
from fleet.broker.kv import Bucket
from fleet.errors import CorruptRecord, LeaseLost, UsageError
from fleet.pool.decision import Decision, Memory
from fleet.pool.knobs import Knobs
from fleet.pool.snapshot import Zone
from fleet.subjects import POLICY, plain, shown, token

# `consumers` look at this one.
FALLBACK: Final = "batch_fallback"
# A manager that said nothing for so long does not work; what it remembered is kept for the next.
SILENT_S: Final = 60.0
STANDING_S: Final = 7 * 86_400.0
# By then nodes and needs are others than those that were remembered.
MEMORY_S: Final = 600.0
TRIES: Final = 5
# So many batches at risk are named; the rest are counted.
MOST_AT_RISK: Final = 20
_TUNING: Final = "tuning."


class Paused(msgspec.Struct, frozen=True, kw_only=True):
    """The manager looks on. by, why: for people. at: seconds since the epoch."""

    by: str
    why: str
    at: float


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a pool stands, as its manager saw it last.

    decision: what was decided, with what it remembers. troubles: what could not be read or done.
    open_batches: those with items left. at_risk: how many of them, some of which are named.
    machines: all that are paid for.
    """

    at: float
    by: str
    model: str
    provider: str
    knobs: Knobs
    decision: Decision
    zones: tuple[Zone, ...] = ()
    troubles: tuple[str, ...] = ()
    open_batches: int = 0
    at_risk: int = 0
    machines: int = 0


class Switches:
    """The keys of one model's pool. All of it raises BrokerRefused and BrokerUnreachable."""

    def __init__(self, connection: Connection, model: str) -> None:
        self._model = token(model, what="model")
        self._knobs = Bucket(connection, POLICY, Knobs)
        self._paused = Bucket(connection, POLICY, Paused)
        self._fallback = Bucket(connection, POLICY, bool)
        self._standing = Bucket(connection, POLICY, Standing)

    async def knobs(self) -> Knobs | None:
        """Read what an operator set; None where nobody did. Raises CorruptRecord."""
        entry = await self._knobs.get(self._key("knobs"))
        return entry.value if entry else None

    async def set(self, changes: Mapping[str, str], otherwise: Knobs | None = None) -> Knobs:
        """Change some knobs, and return all. Raises UsageError for what is no knob or no value.

        otherwise: what counts while nobody set any, and where what was set cannot be read.
        """
        for _ in range(TRIES):
            before, revision = otherwise or Knobs(), 0
            try:
                if (entry := await self._knobs.get(self._key("knobs"))) is not None:
                    before, revision = entry.value, entry.revision
            except CorruptRecord as error:
                revision = error.revision
            after = changed(before, changes)
            try:
                await self._knobs.put(self._key("knobs"), after, revision=revision)
            except LeaseLost:
                continue  # another operator was faster: on top of that
            return after
        raise LeaseLost("the knobs change all the time: see who else sets them, and try again")

    async def paused(self) -> Paused | None:
        """Say whether an operator stopped the manager. Raises CorruptRecord."""
        entry = await self._paused.get(self._key("paused"))
        return entry.value if entry else None

    async def pause(self, paused: Paused) -> None:
        """Stop the manager: it looks on, and says what it would do."""
        await self._paused.put(self._key("paused"), paused)

    async def resume(self) -> None:
        """Let the manager act again."""
        await self._paused.forget(self._key("paused"))

    async def fallback(self) -> bool:
        """Say whether on-demand nodes may take batch jobs. Raises CorruptRecord."""
        entry = await self._fallback.get(self._key(FALLBACK))
        return entry is not None and entry.value

    async def turn_fallback(self, *, on: bool) -> None:
        """Let on-demand nodes take batch jobs, or not.

        It outlives the manager: a pool without one meets its deadlines all the same, and is dearer.
        """
        await self._fallback.put(self._key(FALLBACK), on)

    async def tell(self, standing: Standing) -> None:
        """Say how the pool stands."""
        decision = msgspec.structs.replace(
            standing.decision, at_risk=standing.decision.at_risk[:MOST_AT_RISK]
        )
        told = msgspec.structs.replace(standing, decision=decision)
        await self._standing.put(self._key("pool"), told, ttl_s=STANDING_S)

    async def standing(self) -> Standing | None:
        """Read how the pool stood when a manager told last; None where none did for a week.

        Raises CorruptRecord.
        """
        entry = await self._standing.get(self._key("pool"))
        return entry.value if entry else None

    def _key(self, switch: str) -> str:
        return f"{switch}.{self._model}"


def changed(knobs: Knobs, changes: Mapping[str, str]) -> Knobs:
    """Set knobs by name; `tuning.margin` is one of those behind them, and `none` is no limit.

    Raises UsageError.
    """
    values = msgspec.to_builtins(knobs)
    for name, text in changes.items():
        group = values["tuning"] if name.startswith(_TUNING) else values
        key = name.removeprefix(_TUNING)
        if key not in group or key == "tuning":
            names = ", ".join(one for one in values if one != "tuning")
            raise UsageError(f"there is no knob {shown(name)}: set {names}, or `tuning.<name>`")
        group[key] = None if text.lower() == "none" else text
    try:
        after = msgspec.convert(values, Knobs, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"no knob takes that ({plain(str(error))}): write a number, or `none` for no limit"
        ) from error
    told = {**msgspec.to_builtins(after), **msgspec.to_builtins(after.tuning)}
    for name, value in told.items():
        # JSON has no word for it, and nobody could read what was stored.
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"knobs: {name} is {value}: give a number, or `none` for no limit")
    return after


def remembered(standing: Standing, *, now: float) -> Memory:
    """Return what to remember of an earlier manager's word: of an old one only what lasts."""
    memory = standing.decision.memory
    if abs(now - standing.at) <= MEMORY_S:
        return memory
    return Memory(
        usual_spot=memory.usual_spot,
        fill=memory.fill,
        item_s=memory.item_s,
        on_demand_usd=memory.on_demand_usd,
        cooling=memory.cooling,
    )
