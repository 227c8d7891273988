"""Whose a delivery is: taken over, lost to another consumer, or not begun at all."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from consumers.belief import Believer
from consumers.filler import Filler
from consumers.lease import Lease, LeaseKeeper
from consumers.runner import Runner
from fleet.broker.claims import Claims
from fleet.broker.delivery import Delivery
from fleet.broker.nodes import Nodes
from fleet.broker.results import ResultLog
from fleet.claim import Claim
from fleet.errors import BrokerUnreachable, EngineDead
from fleet.events import JobLost, JobTakenOver
from fleet.job import Job
from fleet.tracing import Untraced
from tests.asking import chat
from tests.fakes import ME, FakeClaims, FakeLog, line_of
from tests.hands import BOUND_S, Bench, House, Said


class Log(FakeLog, ResultLog):
    """Takes records of take-overs, too. between: what happens before the next of them."""

    def __init__(self) -> None:
        super().__init__()
        self.between: list[Any] = []

    async def take_over(
        self, tenant: str, batch: str | None, job: str,
        *, last: int, sha256: str, writer: str, node: str,
    ) -> int:  # fmt: skip
        if self.between:
            self.between.pop()()
        return await self.append(tenant, batch, job, (), last=last, sha256=sha256, writer=writer)


class Records(FakeClaims, Claims):
    """The claim of one job."""


class Nobody(Nodes):
    """No other node lives."""

    def __init__(self) -> None: ...

    async def alive(self, name: str) -> bool:
        return False


class Inline(Filler):
    """All requests are in their jobs."""

    def __init__(self) -> None: ...

    async def fill(self, delivery: Delivery, job: Job, claim: Claim | None) -> Job | None:
        return job


class Held(LeaseKeeper):
    """Holds nothing."""

    def __init__(self) -> None: ...

    @contextmanager
    def hold(self, lease: Lease) -> Iterator[None]:
        yield


class Mute(Said):
    """Reaches nobody."""

    async def publish(self, subject: str, payload: bytes = b"") -> None:
        raise BrokerUnreachable("the buffer is full")


class Desk:
    """A runner with a job that another consumer had before, unless `number` is 1."""

    def __init__(self, *, number: int = 2, said: Said | None = None) -> None:
        self.log, self.claims, self.house = Log(), Records(), House()
        self.bench = Bench(chat("a"), chat("b"), house=self.house, log=self.log, claims=self.claims)
        if number > 1:
            old = Claim(owner="gone", writer="old", sha256=self.bench.job.sha256)
            self.claims.saved, self.claims.revision = [old], 1
        self.said, self.events = said or self.bench.said, self.bench.events
        self.delivery = msgspec.structs.replace(
            self.bench.delivery, number=number, sender=self.said
        )
        self.runner = Runner(
            me=ME, checkpoint_s=5.0, results=self.log, claims=self.claims, nodes=Nobody(),
            refuser=self.bench.cemetery, filler=Inline(),
            believer=Believer(self.house.engine.facts, frozenset()), attempts=self.bench.attempts,
            settler=self.bench.settler, lease=Held(), halt=self.house.halt, gate=self.house.gate,
            traces=Untraced(), emit=self.events.append,
        )  # fmt: skip

    async def run(self) -> None:
        async with asyncio.timeout(BOUND_S):
            await self.runner.run(self.delivery, self.bench.job, on_item=lambda: None)


async def test_a_job_whose_owner_is_gone_is_taken_over_and_finished() -> None:
    desk = Desk()
    await desk.run()
    assert sorted(desk.log.items) == [0, 1]
    assert [type(event) for event in desk.events] == [JobTakenOver]
    assert desk.said.words == [b"+ACK"]


async def test_what_the_old_owner_wrote_while_its_job_was_taken_over_counts() -> None:
    desk = Desk()
    line = line_of(desk.bench.job, 1)
    desk.log.between = [lambda: desk.log.messages.append(("old", (line,)))]
    await desk.run()
    assert desk.log.items == [1, 0]
    assert desk.said.words == [b"+ACK"]


async def test_who_is_late_to_take_a_job_over_does_not_fence_out_who_has_it_by_then() -> None:
    desk = Desk()

    def another_takes_it() -> None:
        desk.claims.stranger_writes()
        desk.log.stranger_writes()

    desk.log.between = [another_takes_it]
    await desk.run()
    assert desk.log.messages == [("stranger", ())]
    assert [type(event) for event in desk.events] == [JobLost]
    assert desk.said.words == []


async def test_a_dead_engine_begins_nothing_and_what_cannot_be_given_back_ends_nothing() -> None:
    desk, mute = Desk(number=1), Desk(number=1, said=Mute())
    for one in (desk, mute):
        one.house.halt.begin(EngineDead("gone"))
        await one.run()
        assert one.log.messages == []
    assert desk.said.words == [b'-NAK {"delay": 1000000000}']
    assert [type(event) for event in mute.events] == [JobLost]
