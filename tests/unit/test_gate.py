"""Who may use the engine beside whom."""

import asyncio

import hypothesis.strategies as st
from hypothesis import given

from consumers.gate import Gate

BOUND_S = 5.0


def never() -> bool:
    return False


async def turns(count: int = 5) -> None:
    """Let others run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_many_run_beside_each_other() -> None:
    gate = Gate()
    with gate.shared() as one, gate.shared() as other:
        assert (one, other, gate.closed) == (True, True, False)


async def test_one_that_wants_to_be_alone_waits_for_the_others_and_lets_no_more_in() -> None:
    gate, order = Gate(), list[str]()

    async def alone() -> None:
        async with gate.alone(never) as mine:
            assert mine
            order.append("alone")

    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as group:
        with gate.shared() as mine:
            assert mine
            group.create_task(alone())
            await turns()
            assert gate.closed
            with gate.shared() as late:
                assert not late
            order.append("the other")
    assert order == ["the other", "alone"]
    assert not gate.closed
    with gate.shared() as mine:
        assert mine


async def test_one_that_has_to_go_waits_no_longer() -> None:
    gate, goes = Gate(), False
    async with asyncio.timeout(BOUND_S):
        with gate.shared():
            async with asyncio.TaskGroup() as group:

                async def alone() -> None:
                    async with gate.alone(lambda: goes) as mine:
                        assert not mine

                group.create_task(alone())
                await turns()
                goes = True
    assert not gate.closed


async def test_one_that_is_cancelled_while_it_waits_opens_the_gate_again() -> None:
    gate = Gate()

    async def alone() -> None:
        async with gate.alone(never):
            raise AssertionError("it was not alone")

    async with asyncio.TaskGroup() as group:
        with gate.shared():
            task = group.create_task(alone())
            await turns()
            task.cancel()
            await turns()
            assert not gate.closed


@given(jobs=st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 4)), max_size=10))
def test_nobody_ever_runs_beside_one_that_is_alone(jobs: list[tuple[bool, int, int]]) -> None:
    async def play() -> None:
        gate, running = Gate(), list[bool]()

        async def run(*, alone: bool, length: int) -> None:
            running.append(alone)
            assert running == [True] or not any(running)
            await turns(length)
            running.remove(alone)

        async def job(*, alone: bool, begins: int, length: int) -> None:
            await turns(begins)
            if alone:
                async with gate.alone(never) as mine:
                    assert mine
                    await run(alone=True, length=length)
            else:
                with gate.shared() as mine:
                    if mine:
                        await run(alone=False, length=length)

        async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as group:
            for alone, begins, length in jobs:
                group.create_task(job(alone=alone, begins=begins, length=length))
        assert running == []
        assert not gate.closed

    asyncio.run(play())
