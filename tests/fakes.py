"""Small honest doubles: they keep the promises of what they stand for, in memory."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import msgspec

from consumers.identity import Identity
from fleet.broker.claims import Held
from fleet.broker.results import LogState
from fleet.broker.tokens import TokenMessage
from fleet.claim import Claim
from fleet.errors import BrokerUnreachable, LeaseLost
from fleet.job import FleetInfo, Job, ResultLine, Tier, TokenDelta, WireError
from fleet.wire import Envelope, decode_job

# What becomes of a write: it is refused by nobody but unheard, stored although its answer gets
# lost, or stored in part.
Fate = Literal["unsent", "stored", "half"]

ME = Identity(
    node="me", capacity_type="spot", zone="a", model="m", engine="scripted", pid=1, host="h",
    started_at=0.0, since=0.0,
)  # fmt: skip


class FakeLog:
    """A result log of one job. fates: what becomes of the next appends."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, tuple[ResultLine, ...]]] = []
        self.fates: list[Fate] = []
        self.wrote = asyncio.Event()

    @property
    def items(self) -> list[int]:
        """The items of all lines, in the order of the log."""
        return [line.fleet.item for _, lines in self.messages for line in lines]

    def stranger_writes(self) -> None:
        """Let another consumer take the job over."""
        self.messages.append(("stranger", ()))

    async def read(self, tenant: str, batch: str | None, job: str) -> LogState:
        lines = {line.fleet.item: line for _, lines in self.messages for line in lines}
        return LogState(
            sequence=len(self.messages),
            lines=tuple(lines.values()),
            writer=self.messages[-1][0] if self.messages else None,
        )

    async def append(
        self,
        tenant: str,
        batch: str | None,
        job: str,
        lines: Sequence[ResultLine],
        *,
        last: int,
        sha256: str,
        writer: str,
        trace: str | None = None,
    ) -> int:
        if last != len(self.messages):
            raise LeaseLost(f"the log is at {len(self.messages)}, not at {last}")
        fate = self.fates.pop(0) if self.fates else None
        if fate != "unsent":
            kept = lines[: len(lines) // 2] if fate == "half" else lines
            self.messages.append((writer, tuple(kept)))
        self.wrote.set()
        if fate is not None:
            raise BrokerUnreachable("no answer")
        return len(self.messages)


class FakeClaims:
    """The claim of one job. fates: what becomes of the next saves."""

    def __init__(self) -> None:
        self.saved: list[Claim] = []
        self.fates: list[Fate] = []
        self.revision = 0
        self.wrote = asyncio.Event()

    def stranger_writes(self) -> None:
        self._store(Claim(owner="other", writer="stranger", sha256=""))

    async def get(self, tenant: str, job: str) -> Held | None:
        if not self.revision:
            return None
        return Held(claim=self.saved[-1], revision=self.revision, age_s=0.0)

    async def save(self, tenant: str, job: str, claim: Claim, *, revision: int) -> int:
        if revision != self.revision:
            raise LeaseLost(f"the claim is at {self.revision}, not at {revision}")
        fate = self.fates.pop(0) if self.fates else None
        if fate != "unsent":
            self._store(claim)
        self.wrote.set()
        if fate is not None:
            raise BrokerUnreachable("no answer")
        return self.revision

    async def forget(self, tenant: str, job: str, revision: int) -> None:
        if revision != self.revision:
            raise LeaseLost(f"the claim is at {self.revision}, not at {revision}")
        self.revision = 0

    def _store(self, claim: Claim) -> None:
        self.saved.append(claim)
        self.revision += 1


class FakeCancelled:
    """Knows of one cancellation: that of whatever is asked for."""

    def __init__(self) -> None:
        self._is_cancelled = False
        self._sleepers: set[asyncio.Event] = set()

    def cancel(self) -> None:
        self._is_cancelled = True
        for sleeper in self._sleepers:
            sleeper.set()

    async def __call__(self, job: Job) -> bool:
        return self._is_cancelled

    @contextmanager
    def wakes(self, sleeper: asyncio.Event) -> Iterator[None]:
        self._sleepers.add(sleeper)
        yield
        self._sleepers.discard(sleeper)


class FakeTokens:
    """The token stream of one job. reachable: False loses deltas with an error. owner: whose it is.

    said: what former owners told. deltas: what was told by the owners since. tried: how often.
    """

    def __init__(self, *said: TokenDelta) -> None:
        self.said = said
        self.deltas: list[TokenDelta] = []
        self.reachable = True
        self.tried = 0
        self.owner = "old" if said else None

    def teller(self, tenant: str, batch: str | None, job: str, *, writer: str) -> "FakeTeller":
        return FakeTeller(self, writer)


class FakeTeller:
    """Writes to a FakeTokens for one run."""

    def __init__(self, stream: FakeTokens, writer: str) -> None:
        self._stream = stream
        self._writer = writer

    async def take_over(self, *, node: str) -> list[TokenMessage]:
        stream = self._stream
        stream.owner = self._writer
        deltas = (*stream.said, *stream.deltas)
        return [TokenMessage(sequence=n, writer="old", delta=d) for n, d in enumerate(deltas, 1)]

    async def tell(self, delta: TokenDelta) -> None:
        stream = self._stream
        stream.tried += 1
        if not stream.reachable:
            raise BrokerUnreachable("nobody answers")
        if stream.owner not in {None, self._writer}:
            raise LeaseLost("another consumer has it")
        stream.owner = self._writer
        stream.deltas.append(delta)


def job_of(*requests: object, tier: Tier = Tier.BATCH) -> Job:
    """Decode a job as a consumer gets it."""
    envelope = Envelope(id="j", tenant="t", model="m", tier=tier)
    return decode_job(envelope, msgspec.json.encode({"requests": requests}))


def line_of(job: Job, item: int) -> ResultLine:
    """A line of an item, whatever is in it."""
    return ResultLine(
        id=f"{job.id}-{item}",
        custom_id=None,
        error=WireError("none", "none"),
        fleet=FleetInfo(
            job=job.id, item=item, items=len(job.items), node="me", capacity_type="spot"
        ),
    )
