"""What readers are told of a job that changes hands, through the server of its items."""

import asyncio

import pytest

from consumers.feed import Feed
from consumers.meter import ShareClock, Totals
from consumers.scripted_engine import ScriptedEngine, text_of, token
from consumers.serve import Server
from consumers.work import Work
from fleet.claim import Claim, Saved
from fleet.job import Job, ResultLine, Tier, TokenDelta
from fleet.told import Told
from tests import asking
from tests.asking import answer_to, chat
from tests.fakes import ME, FakeTokens, job_of

PROMPT = b"user: p"
COUNT = 12


def piece(first: int, last: int, *, finish: str | None = None, item: int = 0) -> TokenDelta:
    """What another consumer told of the right answer."""
    ids = tuple(token(PROMPT, n) for n in range(first, last))
    return TokenDelta(
        item=item,
        offset=first,
        text="".join(map(text_of, ids)),
        token_ids=ids,
        text_offset=len(text_of(ids[0])) * first if ids else 7 * first,
        finish_reason=finish,
    )


def asked(**more: object) -> Job:
    return job_of(chat("p", COUNT, temperature=0, **more), tier=Tier.REALTIME)


async def resumed(
    job: Job, tokens: FakeTokens, *saved: Saved, totals: Totals | None = None
) -> ResultLine:
    """Take a job over and serve its only item."""
    claim = Claim(owner="old", writer="w", sha256=job.sha256, interruptions=1, saved=saved)
    work = Work(job, done=frozenset(), last=0, claim=claim)
    server = Server(
        engine=ScriptedEngine(model="m"),
        me=ME,
        clock=ShareClock(),
        totals=totals or Totals(),
        feed=Feed(tokens, node="me"),
    )
    rendered = await server.render(work)
    (run,) = work.open
    await server.serve(work, run, rendered.get(0), 0.0)
    (line,) = work.pending
    return line


def saved_of(count: int) -> Saved:
    return Saved(0, tuple(PROMPT), tuple(token(PROMPT, n) for n in range(count)))


@pytest.mark.parametrize("saved", [(), (saved_of(3),)], ids=["no checkpoint", "a checkpoint"])
async def test_an_answer_goes_on_from_what_was_told(saved: tuple[Saved, ...]) -> None:
    tokens, totals = FakeTokens(piece(0, 2), piece(2, 5)), Totals()
    line = await resumed(asked(), tokens, *saved, totals=totals)
    assert asking.text_of(line) == answer_to("p", COUNT)
    assert totals.tokens_generated == COUNT - 5
    assert line.fleet.resumed == "exact"
    assert tokens.deltas[0].offset == 5, "nothing is told twice"
    assert Told((*tokens.said, *tokens.deltas)).text == answer_to("p", COUNT)
    assert tokens.deltas[-1].finish_reason == "length"


async def test_a_sampled_answer_contradicts_no_token_that_was_told() -> None:
    # Other tokens than this engine would choose: so does sampling.
    said = TokenDelta(item=0, offset=0, text="000001 000002 ", token_ids=(257, 258))
    tokens = FakeTokens(said)
    line = await resumed(asked(), tokens)
    assert asking.text_of(line).startswith(said.text)
    assert tokens.deltas[0].offset == 2


async def test_an_answer_that_was_told_to_its_end_is_settled_and_not_generated() -> None:
    tokens, totals = FakeTokens(piece(0, COUNT, finish="length")), Totals()
    line = await resumed(asked(), tokens, totals=totals)
    assert asking.text_of(line) == answer_to("p", COUNT)
    assert totals.tokens_generated == 0
    assert tokens.deltas == []


async def test_an_answer_whose_stop_string_was_told_is_settled_and_not_generated() -> None:
    stop = text_of(token(PROMPT, 4)).strip()
    tokens, totals = FakeTokens(piece(0, 5, finish="stop")), Totals()
    line = await resumed(asked(stop=[stop]), tokens, totals=totals)
    assert asking.text_of(line) == answer_to("p", 4)
    assert totals.tokens_generated == 0


async def test_what_the_checkpoint_holds_beyond_what_was_told_is_told() -> None:
    tokens = FakeTokens(piece(0, 2))
    line = await resumed(asked(), tokens, saved_of(6))
    assert asking.text_of(line) == answer_to("p", COUNT)
    assert tokens.deltas[0].offset == 2


async def test_an_answer_is_told_from_its_beginning_when_that_is_gone() -> None:
    tokens = FakeTokens(piece(4, 7))
    line = await resumed(asked(), tokens, saved_of(5))
    assert asking.text_of(line) == answer_to("p", COUNT)
    assert tokens.deltas[0].offset == 0
    assert len(tokens.deltas[0].token_ids) >= 7


async def test_an_answer_that_cannot_go_on_begins_again_from_its_first_token() -> None:
    tokens, totals = FakeTokens(piece(0, 5)), Totals()
    line = await resumed(asked(n=2), tokens, totals=totals)
    assert totals.tokens_generated == 2 * COUNT
    assert line.fleet.resumed == "restarted"
    told = (*tokens.said, *(delta for delta in tokens.deltas if delta.choice == 0))
    assert tokens.deltas[0].offset == 0
    assert Told(told).text == answer_to("p", COUNT)


async def test_rubbish_in_the_stream_changes_no_answer() -> None:
    rubbish = [
        TokenDelta(item=0, offset=0, text="?", token_ids=(-3,)),
        TokenDelta(item=7, offset=0, text="?", token_ids=(300,)),
        TokenDelta(item=0, offset=3, text="?", token_ids=(300,), text_offset=9),
        TokenDelta(item=0, offset=0, text="?", token_ids=tuple(range(300, 400))),
    ]
    line = await resumed(asked(), FakeTokens(*rubbish), saved_of(2))
    assert asking.text_of(line) == answer_to("p", COUNT)


async def test_who_lost_the_stream_says_no_more_and_goes_on_working() -> None:
    tokens, job = FakeTokens(), asked()
    tokens.owner = "somebody else"
    server = Server(
        engine=ScriptedEngine(model="m"), me=ME, clock=ShareClock(), totals=Totals(),
        feed=Feed(tokens, node="me"),
    )  # fmt: skip
    work = Work(job, done=frozenset(), last=0)
    rendered = await server.render(work)
    (run,) = work.open
    await server.serve(work, run, rendered.get(0), 0.0)
    (line,) = work.pending
    assert asking.text_of(line) == answer_to("p", COUNT)
    assert tokens.deltas == []


async def test_an_answer_of_any_tier_is_told_if_its_request_asks_for_it() -> None:
    tokens = FakeTokens(piece(0, 5))
    line = await resumed(job_of(chat("p", COUNT, temperature=0, stream=True)), tokens)
    assert asking.text_of(line) == answer_to("p", COUNT)
    assert Told((*tokens.said, *tokens.deltas)).text == answer_to("p", COUNT)


async def test_nobody_reads_a_batch_live() -> None:
    tokens = FakeTokens(piece(0, 5))
    line = await resumed(job_of(chat("p", COUNT, temperature=0)), tokens)
    assert asking.text_of(line) == answer_to("p", COUNT)
    assert (tokens.deltas, tokens.owner) == ([], "old")


async def test_items_wait_for_a_broker_that_does_not_answer_once_and_not_one_by_one() -> None:
    tokens = FakeTokens()
    tokens.reachable = False
    job = job_of(*(chat(f"p{n}", COUNT) for n in range(8)), tier=Tier.REALTIME)
    work = Work(job, done=frozenset(), last=0)
    server = Server(
        engine=ScriptedEngine(model="m"), me=ME, clock=ShareClock(), totals=Totals(),
        feed=Feed(tokens, node="me"),
    )  # fmt: skip
    rendered = await server.render(work)
    async with asyncio.TaskGroup() as group:
        for run in work.open:
            group.create_task(server.serve(work, run, rendered[run.item.index], 0.0))
    assert len(work.pending) == 8
    assert tokens.tried == 1
