"""Whatever a cloud does to a pool that grows without sense: bounded, found again, and ended."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.pool.guard import BLIND_S, Guard, Limits
from fleet.pool.provider import Fault, Request
from fleet.pool.reaper import Patience, Reaper
from fleet.pool.simcloud import Fate, SimCloud, SimZone

LIMITS = Limits(per_call=7, machines=25)
PATIENCE = Patience(start_s=300.0, silent_s=60.0, step_s=60.0, most=5)
FATES: list[Fate] = [
    "no_capacity", "quota", "throttled", "unreachable", "refused", "unheard",
]  # fmt: skip

steps = st.lists(
    st.one_of(
        st.tuples(st.just("launch"), st.integers(-3, 500)),
        st.tuples(st.just("fate"), st.sampled_from(FATES)),
        st.tuples(st.just("wait"), st.floats(0, 2000)),
        st.tuples(st.just("list"), st.none()),
        st.tuples(st.just("offer"), st.integers(0, 30)),
        st.tuples(st.just("die"), st.none()),
    ),
    max_size=40,
)


class Play:
    """A pool whose manager launches as it pleases and dies now and then."""

    def __init__(self, list_s: float) -> None:
        self.at = 0.0
        self.cloud = SimCloud([SimZone(name="a")], now=self.now, list_s=list_s)
        self.guard = self._manager()
        self._launches = 0

    def now(self) -> float:
        return self.at

    def _manager(self) -> Guard:
        return Guard(self.cloud, LIMITS, clock=self.now)

    async def act(self, what: str, how: Any) -> None:
        match what:
            case "launch":
                self._launches += 1
                wanted = Request(id=f"l{self._launches}", capacity_type="spot", zone="a", count=how)
                granted = await self.guard.launch(wanted)
                assert len(granted.machines) <= LIMITS.per_call
                assert len(granted.machines) == max(1, how) or granted.shortfall is not None
            case "fate":
                self.cloud.fates.append(how)
            case "wait":
                self.at += how
            case "list":
                await self.guard.list()
            case "offer":
                self.cloud.offer(SimZone(name="a", spot=how))
            case _:
                self.guard = self._manager()

    async def alive(self) -> int:
        self.cloud.fates = []
        listed = await self.cloud.list()
        assert not isinstance(listed, Fault)
        return sum(one.alive for one in listed)

    async def reap(self) -> None:
        """Let a new manager look for what nobody hears of."""
        self.cloud.fates = []
        self.at += BLIND_S
        guard, reaper = self._manager(), Reaper(PATIENCE)
        for _ in range(60):
            listed = await guard.list()
            assert not isinstance(listed, Fault)
            leaks = reaper.look(listed, [], self.at)
            await guard.terminate([leak.id for leak in leaks])
            self.at += 30.0


@given(steps)
@settings(max_examples=60)
def test_no_pool_grows_beyond_its_limit_and_none_leaks_a_machine(
    script: list[tuple[str, Any]],
) -> None:
    async def play() -> None:
        pool = Play(list_s=0.0)
        for what, how in script:
            await pool.act(what, how)
        assert await pool.alive() <= LIMITS.machines
        await pool.reap()
        assert await pool.alive() == 0

    asyncio.run(play())


@given(steps, st.floats(0, 5000))
@settings(max_examples=60)
def test_a_list_that_lags_behind_lets_through_what_died_managers_launched_and_no_more(
    script: list[tuple[str, Any]], list_s: float
) -> None:
    async def play() -> None:
        pool = Play(list_s)
        for what, how in script:
            await pool.act(what, how)
        lives = 1 + sum(what == "die" for what, _ in script)
        unheard = sum(how == "unheard" for _, how in script)
        hours = 1 + pool.at / BLIND_S
        pool.at += list_s
        most = lives * hours * (LIMITS.machines + unheard * LIMITS.per_call)
        assert await pool.alive() <= most
        await pool.reap()
        assert await pool.alive() == 0

    asyncio.run(play())
