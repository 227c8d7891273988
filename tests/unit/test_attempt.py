"""One job through the engine, and every way in which that ends."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence

import msgspec
import pytest

from consumers.drain import Drain
from consumers.engine import Sampling, Step
from consumers.lease import Lease
from consumers.work import Work
from fleet.claim import ALONE_MAX, Claim
from fleet.errors import BrokerUnreachable, EngineDead, LeaseLost
from fleet.events import JobReleased, JobRetried
from fleet.notice import Notice
from tests.asking import answer_to, chat, text_of
from tests.fakes import FakeClaims
from tests.hands import Bench, Engine, House, claim_of, suspected


async def test_a_job_without_trouble_is_written_and_acknowledged_and_nothing_else() -> None:
    bench = Bench(chat("a"), chat("b"))
    await bench.run()
    assert sorted(bench.log.items) == [0, 1]
    assert len(bench.log.messages) == 1
    assert bench.said.words == [b"+ACK"]
    assert (bench.claims.saved, bench.events) == ([], [])


async def test_a_job_is_settled_although_its_claim_cannot_be_removed() -> None:
    class Kept(FakeClaims):
        async def forget(self, tenant: str, job: str, revision: int) -> None:
            raise BrokerUnreachable("nobody answers")

    bench = Bench(chat("a"), claims=Kept(), claim=claim_of())
    await bench.run()
    assert bench.said.words == [b"+ACK"]


async def test_a_dying_engine_hands_over_every_job_in_hand_and_no_error_leaves() -> None:
    house = House(Engine(tokens_per_s=50))
    ill = Bench(chat("x", 2000), house=house)
    well = Bench(chat("y", 2000), chat("z", 1, temperature=0), house=house)
    async with asyncio.TaskGroup() as group:
        for bench in (ill, well):
            group.create_task(bench.run())
        await house.engine.has_begun(3)
        await asyncio.sleep(0.2)
        house.engine.die()
    assert house.halt.error is not None
    for bench in (ill, well):
        assert bench.said.words == [b"-NAK"]
        claim = bench.claim
        assert claim is not None
        assert claim.owner is None
        assert claim.saved[0].done_ids
        assert [past.how for past in claim.history] == ["engine_died"]
        assert claim.suspects == 0  # it made progress
    assert well.log.items == [1]


async def test_an_engine_that_dies_at_once_of_a_job_makes_it_a_suspect() -> None:
    bench = Bench(chat("stroke"))
    await bench.run()
    assert bench.claim is not None
    assert (bench.claim.suspects, bench.claim.owner) == (1, None)
    assert bench.said.words == [b"-NAK"]


async def test_a_job_that_a_dead_engine_never_had_is_no_suspect() -> None:
    house = House()
    house.halt.begin(EngineDead("gone"))
    bench = Bench(chat("innocent"), house=house)
    await bench.run()
    assert house.engine.began == []
    assert bench.claim is not None
    assert (bench.claim.suspects, bench.claim.history) == (0, ())
    assert bench.said.words == [b"-NAK"]


async def test_a_bug_that_shows_while_the_engine_dies_is_not_hidden_by_its_death() -> None:
    class Broken(Engine):
        def decode(self, token_ids: Sequence[int]) -> str:
            raise KeyError("a bug")

        async def generate(
            self, prompt_ids: Sequence[int], sampling: Sampling, *, request_id: str,
            priority: int, salt: str = "",
        ) -> AsyncGenerator[Step, None]:  # fmt: skip
            steps = super().generate(
                prompt_ids, sampling, request_id=request_id, priority=priority, salt=salt
            )
            try:
                async for step in steps:
                    yield step
            finally:
                if request_id == "t/j/1/0":
                    raise EngineDead("gone")

    bench = Bench(chat("x", 1), chat("y", 10_000), house=House(Broken()))
    with pytest.raises(ExceptionGroup) as failed:
        await bench.run()
    assert failed.group_contains(KeyError)
    assert failed.group_contains(EngineDead)


async def test_a_notice_saves_what_does_not_fit_and_hands_over_at_once() -> None:
    house = House(Engine(tokens_per_s=50))
    bench = Bench(chat("x", 2000), house=house)
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.run())
        await house.engine.has_begun(1)
        await asyncio.sleep(0.2)
        plan = bench.attempts.plan(1.0)
        assert (plan.finish, plan.save) == (0, 1)
        assert bench.attempts.plan(100.0).finish == 1
        house.drain.hear(Notice(kind="terminate", source="signal"))
    assert bench.attempts.plan(100.0).finish == 0
    assert bench.claim is not None
    assert (bench.claim.owner, len(bench.claim.saved)) == (None, 1)
    assert bench.said.words == [b"-NAK"]
    (event,) = bench.events
    assert isinstance(event, JobReleased)
    assert event.tokens_saved == len(bench.claim.saved[0].done_ids) > 0


async def test_a_notice_with_time_left_finishes_what_fits() -> None:
    house = House(Engine(tokens_per_s=50), Drain(grace_s=30.0))
    bench = Bench(chat("x", 30), house=house)
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.run())
        await house.engine.has_begun(1)
        await asyncio.sleep(0.2)
        house.drain.hear(Notice(kind="terminate", source="signal"))
    assert (bench.log.items, bench.said.words) == ([0], [b"+ACK"])


async def test_an_item_that_fails_is_retried_later_and_later_and_then_given_up() -> None:
    bench = Bench(chat("good"), chat("oops"), chat("fine"))
    await bench.run()
    assert sorted(bench.log.items) == [0, 2]
    await bench.run()
    await bench.run()
    assert bench.said.words == [
        b'-NAK {"delay": 1000000000}', b'-NAK {"delay": 2000000000}', b"+ACK",
    ]  # fmt: skip
    assert bench.errors == {1: "failed"}
    assert sorted(bench.log.items) == [0, 1, 2]
    retried = [event for event in bench.events if isinstance(event, JobRetried)]
    assert [(event.attempts, event.code) for event in retried] == [(1, "failed"), (2, "failed")]
    assert bench.log.messages[-1][1][0].fleet.attempts == 3
    assert bench.cemetery.buried == []


async def test_a_job_whose_items_all_fail_is_buried_with_its_history() -> None:
    bench = Bench(chat("oops"), chat("oops too"))
    for _ in range(3):
        await bench.run()
    assert bench.errors == {0: "failed", 1: "failed"}
    ((code, claim),) = bench.cemetery.buried
    assert code == "failed"
    assert claim is not None
    assert [past.how for past in claim.history] == ["failed"] * 3


async def test_the_items_of_a_suspected_job_run_one_at_a_time_each_named_before_it_begins() -> None:
    bench = Bench(chat("a", 70), chat("b", 70), chat("c", 70), claim=suspected())
    named: list[tuple[int | None, int]] = []

    class Watched(FakeClaims):
        async def save(self, tenant: str, job: str, claim: Claim, *, revision: int) -> int:
            named.append((claim.trying, len(bench.house.engine.began)))
            return await super().save(tenant, job, claim, revision=revision)

    bench.claims.__class__ = Watched
    await bench.run()
    assert bench.house.engine.most == 1
    assert named == [(0, 0), (1, 1), (2, 2)]
    assert bench.said.words == [b"+ACK"]


async def test_a_condemned_item_is_not_run_and_its_neighbours_are() -> None:
    bench = Bench(chat("a"), chat("boom"), chat("c"), claim=claim_of(blamed=(1,) * ALONE_MAX))
    await bench.run()
    assert len(bench.house.engine.began) == 2
    assert bench.errors == {1: "crashed_consumers"}
    assert sorted(bench.log.items) == [0, 1, 2]
    assert bench.cemetery.buried == []


async def test_a_job_whose_only_item_is_condemned_is_buried() -> None:
    bench = Bench(chat("boom"), claim=claim_of(blamed=(0,) * ALONE_MAX))
    await bench.run()
    assert bench.house.engine.began == []
    assert [code for code, _ in bench.cemetery.buried] == ["crashed_consumers"]


async def test_a_job_that_comes_while_another_runs_alone_is_handed_on() -> None:
    bench = Bench(chat("a"))
    async with bench.house.gate.alone(lambda: False):
        await bench.run()
    assert bench.said.words == [b"-NAK"]
    assert bench.house.engine.began == []


async def test_a_suspected_job_does_not_wait_for_its_turn_when_the_node_goes() -> None:
    house = House()
    house.drain.hear(Notice(kind="terminate", source="signal"))
    bench = Bench(chat("a"), house=house, claim=suspected())
    with house.gate.shared():
        await bench.run()
    assert bench.said.words == [b"-NAK"]
    assert bench.claim is not None
    assert bench.claim.isolated


async def test_a_job_that_another_consumer_took_is_dropped_without_a_word() -> None:
    bench = Bench(chat("a"))
    bench.log.stranger_writes()
    work = Work(bench.job, done=frozenset(), last=0)
    with pytest.raises(LeaseLost):
        await bench.attempts.work(Lease(bench.delivery), work)
    assert bench.said.words == []


@pytest.mark.parametrize("shift_s", [3600.0, -3600.0])
async def test_a_deadline_is_compared_with_the_servers_time(
    shift_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + shift_s)  # this node's clock is wrong
    bench = Bench(chat("a"), shift_s=-shift_s)
    bench.job = msgspec.structs.replace(bench.job, deadline=real() + 60)
    await bench.run()
    assert bench.errors == {}
    late = Bench(chat("a"), shift_s=-shift_s)
    late.job = msgspec.structs.replace(late.job, deadline=real() - 60)
    await late.run()
    assert late.errors == {0: "expired"}


async def test_an_answer_that_the_engine_died_of_goes_on_elsewhere() -> None:
    house = House(Engine(tokens_per_s=100))
    bench = Bench(chat("x", 60, temperature=0), house=house)
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.run())
        await house.engine.has_begun(1)
        await asyncio.sleep(0.2)
        house.engine.die()
    again = Bench(chat("x", 60, temperature=0), claim=bench.claim)
    await again.run()
    ((_, (line,)),) = again.log.messages
    assert text_of(line) == answer_to("x", 60)
    assert line.fleet.resumed == "exact"
