"""A consumer's hands in memory: one job, a scripted engine, and doubles of all that is written."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from consumers.attempt import Attempts
from consumers.drain import Drain
from consumers.engine import Sampling, Step
from consumers.feed import Feed
from consumers.gate import Gate
from consumers.halt import Halt
from consumers.keeper import Keeper
from consumers.lease import Lease
from consumers.meter import ShareClock, Totals
from consumers.refuse import Refuser
from consumers.scripted_engine import ScriptedEngine
from consumers.serve import Server
from consumers.settler import Settler
from consumers.work import Work
from fleet.broker.delivery import Delivery
from fleet.broker.message import Message
from fleet.claim import SUSPECTS_MAX, Claim
from fleet.errors import JobRejected
from fleet.events import AnyEvent
from fleet.job import Job
from fleet.settings import Settings
from tests.fakes import ME, FakeCancelled, FakeClaims, FakeLog, FakeTokens, job_of

BOUND_S = 10.0
PITFALLS = {b"oops": "fail", b"stroke": "die"}


class Said:
    """What deliveries said to the server."""

    def __init__(self) -> None:
        self.words: list[bytes] = []

    async def publish(self, subject: str, payload: bytes = b"") -> None:
        self.words.append(payload)

    async def request(self, subject: str, payload: bytes = b"", *, wait_s: float = 5.0) -> Message:
        self.words.append(payload)
        return Message(subject="", reply="", headers={}, payload=b"")


class Cemetery(Refuser):
    """Keeps the reasons of dead letters, and the claims that came with them."""

    def __init__(self) -> None:
        self.buried: list[tuple[str, Claim | None]] = []

    async def bury(
        self, delivery: Delivery, job: Job, cause: JobRejected, claim: Claim | None
    ) -> None:
        self.buried.append((cause.code, claim))


class Engine(ScriptedEngine):
    """Counts how many requests run at a time, and which began when."""

    def __init__(self, *, tokens_per_s: float = 0.0) -> None:
        super().__init__(model="m", tokens_per_s=tokens_per_s, pitfalls=PITFALLS)
        self.running = self.most = 0
        self.began: list[str] = []
        self._begins = asyncio.Event()

    async def has_begun(self, count: int) -> None:
        """Wait until so many requests were begun."""
        async with asyncio.timeout(BOUND_S):
            while len(self.began) < count:
                await self._begins.wait()
                self._begins.clear()

    async def generate(
        self,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        *,
        request_id: str,
        priority: int,
        salt: str = "",
    ) -> AsyncGenerator[Step, None]:
        self.began.append(request_id)
        self._begins.set()
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            steps = super().generate(
                prompt_ids, sampling, request_id=request_id, priority=priority, salt=salt
            )
            async for step in steps:
                yield step
        finally:
            self.running -= 1


@dataclass
class House:
    """What all jobs of one consumer share."""

    engine: Engine = field(default_factory=Engine)
    drain: Drain = field(default_factory=lambda: Drain(grace_s=0.0))
    halt: Halt = field(default_factory=Halt)
    gate: Gate = field(default_factory=Gate)


class Bench:
    """One job in the hands of a consumer."""

    def __init__(
        self, *requests: object, house: House | None = None, claim: Claim | None = None,
        shift_s: float = 0.0, log: FakeLog | None = None, claims: FakeClaims | None = None,
    ) -> None:  # fmt: skip
        self.house = house or House()
        self.log, self.claims, self.said = log or FakeLog(), claims or FakeClaims(), Said()
        self.cemetery, self.events = Cemetery(), list[AnyEvent]()
        self.job = job_of(*requests)
        self.delivery = Delivery(
            sender=self.said, subject="jobs.batch.m.t", headers={}, payload=b"", malformed=False,
            headers_bytes=0, stream="JOBS_BATCH", sequence=1, number=1, published_at=time.time(),
            pending=0, reply="r",
        )  # fmt: skip
        if claim is not None:
            self.claims.saved, self.claims.revision = [claim], 1
        keeper = Keeper(
            me=ME, settings=Settings(checkpoint_s=60.0), results=self.log, claims=self.claims,
            drain=self.house.drain, halt=self.house.halt, is_cancelled=FakeCancelled(),
            totals=Totals(), now=lambda: time.time() + shift_s,
        )  # fmt: skip
        self.settler = Settler(
            me=ME, keeper=keeper, refuser=self.cemetery, halt=self.house.halt,
            emit=self.events.append,
        )  # fmt: skip
        self.attempts = Attempts(
            server=Server(
                engine=self.house.engine, me=ME, clock=ShareClock(), totals=Totals(),
                feed=Feed(FakeTokens(), node="me"),
            ),
            keeper=keeper,
            settler=self.settler,
            is_cancelled=FakeCancelled(), halt=self.house.halt, gate=self.house.gate,
            realtime_deadline_s=300.0, now=lambda: time.time() + shift_s,
        )  # fmt: skip

    async def run(self) -> None:
        """Work on the job from whatever is saved of it."""
        logged = await self.log.read("t", None, "j")
        work = Work(
            self.job,
            done=logged.done,
            last=logged.sequence,
            claim=self.claim,
            revision=self.claims.revision,
        )
        async with asyncio.timeout(BOUND_S):
            await self.attempts.work(Lease(self.delivery), work)

    @property
    def claim(self) -> Claim | None:
        return self.claims.saved[-1] if self.claims.revision else None

    @property
    def errors(self) -> dict[int, str]:
        lines = [line for _, lines in self.log.messages for line in lines]
        return {line.fleet.item: line.error.code for line in lines if line.error}


def claim_of(**more: object) -> Claim:
    return Claim(owner="me", writer="w", sha256="s", **more)  # type: ignore[arg-type]


def suspected(**more: object) -> Claim:
    return claim_of(suspects=SUSPECTS_MAX, **more)
