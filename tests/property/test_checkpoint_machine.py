"""An answer that is cut anywhere, any number of times, is the answer that nobody cut."""

import asyncio

import hypothesis.strategies as st
import msgspec
from hypothesis import given, settings

from consumers.feed import Feed
from consumers.meter import ShareClock, Totals
from consumers.scripted_engine import ScriptedEngine
from consumers.serve import Server
from consumers.work import Work
from fleet.broker.claims import fitted
from fleet.claim import Claim
from fleet.job import Job, ResultLine
from tests.asking import answer_to, chat, text_of
from tests.fakes import ME, FakeTokens, job_of

# As many steps of the loop as the longest answer takes, and a few more.
MOST = 40


class Stepping(ScriptedEngine):
    """Gives one token a turn of the event loop, so that a test can cut between any two."""

    async def _due(self, started: float, made: int, left: int) -> int:
        del started, made, left
        await asyncio.sleep(0)
        return 1


async def served_for(
    job: Job, claim: Claim | None, done: frozenset[int], turns: int | None
) -> Work:
    """Serve a job for so many turns of the loop, wherever that cuts it; None: to its end."""
    work = Work(job, done=done, last=0, claim=claim)
    server = Server(
        engine=Stepping(model="m"), me=ME, clock=ShareClock(), totals=Totals(),
        feed=Feed(FakeTokens(), node="me"),
    )  # fmt: skip
    rendered = await server.render(work)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(server.serve(work, run, rendered.get(run.item.index), 0.0))
            for run in work.open
        ]
        if turns is not None:
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
    return work


def carried(work: Work, *, limit_bytes: int) -> Claim:
    """Carry a checkpoint over the wire; one that is too large loses items, never tokens."""
    claim = fitted(work.next_claim(owner="n"), limit_bytes=limit_bytes)
    return msgspec.json.decode(msgspec.json.encode(claim), type=Claim)


def finished(job: Job, cuts: list[int], *, limit_bytes: int) -> list[ResultLine]:
    claim: Claim | None = None
    lines: dict[int, ResultLine] = {}
    for turns in [*cuts, None]:
        work = asyncio.run(served_for(job, claim, frozenset(lines), turns))
        for line in work.pending:
            assert line.fleet.item not in lines
            lines[line.fleet.item] = line
        claim = carried(work, limit_bytes=limit_bytes)
    return [lines[n] for n in sorted(lines)]


@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(1, MOST), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, MOST), max_size=6),
    limit_bytes=st.sampled_from([400, 100_000]),
)
def test_an_answer_that_was_cut_anywhere_is_the_answer_that_nobody_cut(
    sizes: list[int], cuts: list[int], limit_bytes: int
) -> None:
    job = job_of(*(chat(f"p{n}", size, temperature=0) for n, size in enumerate(sizes)))
    lines = finished(job, cuts, limit_bytes=limit_bytes)
    assert [text_of(line) for line in lines] == [
        answer_to(f"p{n}", size) for n, size in enumerate(sizes)
    ]
    assert [(line.usage or {})["completion_tokens"] for line in lines] == sizes


@settings(max_examples=30)
@given(cuts=st.lists(st.integers(0, MOST), max_size=4), at=st.integers(0, 20))
def test_a_stop_string_is_found_across_any_seam(cuts: list[int], at: int) -> None:
    whole = answer_to("p", MOST)
    # From the middle of one token to the middle of the next.
    start = 7 * at + 3
    stop = whole[start : start + 7]
    job = job_of(chat("p", MOST, temperature=0, stop=[stop]))
    (line,) = finished(job, cuts, limit_bytes=100_000)
    assert text_of(line) == whole[: whole.index(stop)]
