"""One item through the engine."""

from collections.abc import AsyncGenerator, Sequence

import msgspec
import pytest

from consumers.engine import Sampling, Step
from consumers.feed import MOST_TOKENS, Feed
from consumers.meter import ShareClock, Totals
from consumers.scripted_engine import ScriptedEngine, token
from consumers.serve import Server
from consumers.work import Work
from fleet.claim import Claim, Saved
from fleet.errors import EngineDead, JobRejected
from fleet.job import Job, ResultLine, Tier
from tests.asking import answer_to, chat, text_of
from tests.fakes import ME, FakeTokens, job_of

PROMPT = b"user: p"


class Refusing(ScriptedEngine):
    """An engine that raises instead of generating."""

    def __init__(self, error: Exception) -> None:
        super().__init__(model="m")
        self._error = error

    async def generate(
        self,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        *,
        request_id: str,
        priority: int,
        salt: str = "",
    ) -> AsyncGenerator[Step, None]:
        raise self._error
        yield

    async def embed(
        self, prompt_ids: Sequence[int], *, request_id: str, priority: int, salt: str = ""
    ) -> list[float]:
        raise self._error


async def served(
    job: Job,
    *,
    saved: Saved | None = None,
    engine: ScriptedEngine | None = None,
    tokens: FakeTokens | None = None,
    totals: Totals | None = None,
) -> ResultLine:
    """Serve the only item of a job."""
    claim = Claim(owner="old", writer="w", sha256=job.sha256, interruptions=1)
    if saved:
        claim = Claim(owner="old", writer="w", sha256=job.sha256, interruptions=1, saved=(saved,))
    work = Work(job, done=frozenset(), last=0, claim=claim)
    server = Server(
        engine=engine or ScriptedEngine(model="m"),
        me=ME,
        clock=ShareClock(),
        totals=totals or Totals(),
        feed=Feed(tokens or FakeTokens(), node="me"),
    )
    rendered = await server.render(work)
    (run,) = work.open
    await server.serve(work, run, rendered.get(0), 0.0)
    (line,) = work.pending
    return line


def saved_of(tokens: int) -> Saved:
    return Saved(0, tuple(PROMPT), tuple(token(PROMPT, n) for n in range(tokens)))


async def test_a_resumed_item_is_not_generated_again() -> None:
    totals = Totals()
    line = await served(job_of(chat("p", 8, temperature=0)), saved=saved_of(5), totals=totals)
    assert text_of(line) == answer_to("p", 8)
    assert (line.fleet.resumed, totals.tokens_generated) == ("exact", 3)
    assert line.usage == {"prompt_tokens": 7, "completion_tokens": 8, "total_tokens": 15}


async def test_a_resumed_item_whose_limit_is_used_up_is_not_resubmitted() -> None:
    engine = Refusing(AssertionError("resubmitted"))
    line = await served(job_of(chat("p", 5, temperature=0)), saved=saved_of(5), engine=engine)
    assert text_of(line) == answer_to("p", 5)


async def test_a_resumed_item_whose_last_token_ended_it_is_not_resubmitted() -> None:
    engine = Refusing(AssertionError("resubmitted"))
    engine.end_token_ids = frozenset({token(PROMPT, 4)})
    line = await served(job_of(chat("p", 50, temperature=0)), saved=saved_of(5), engine=engine)
    assert line.response is not None
    assert line.response.body["choices"][0]["finish_reason"] == "stop"


async def test_an_item_that_cannot_go_on_begins_again_whatever_was_saved() -> None:
    job = job_of(chat("p", 8, logprobs=True))
    line = await served(job, saved=saved_of(5))
    assert text_of(line) == answer_to("p", 8)
    assert line.fleet.resumed == "restarted"


@pytest.mark.parametrize("n", [1, 3])
async def test_what_the_engine_refuses_is_the_items_error(n: int) -> None:
    engine = Refusing(JobRejected("no such grammar", code="bad_grammar"))
    line = await served(job_of(chat("p", n=n)), engine=engine)
    assert line.error is not None
    assert (line.error.code, line.error.message) == ("bad_grammar", "no such grammar")


async def test_an_embedding_that_the_engine_refuses_is_the_items_error() -> None:
    request = {"url": "/v1/embeddings", "body": {"input": ["a", "b"]}}
    line = await served(job_of(request), engine=Refusing(JobRejected("no", code="no")))
    assert line.error is not None


async def test_more_tokens_at_least_than_at_most_are_the_items_error() -> None:
    line = await served(job_of(chat("p", 4, min_tokens=5)))
    assert line.error is not None
    assert "min_tokens (5)" in line.error.message


async def test_a_dead_engine_is_no_items_error() -> None:
    with pytest.raises(EngineDead):
        await served(job_of(chat("p", n=2)), engine=Refusing(EngineDead("gone")))


async def test_an_answer_goes_on_while_nobody_can_be_told() -> None:
    tokens = FakeTokens()
    tokens.reachable = False
    line = await served(job_of(chat("p", 8), tier=Tier.REALTIME), tokens=tokens)
    assert text_of(line) == answer_to("p", 8)
    assert tokens.deltas == []


async def test_a_long_resumed_answer_is_told_in_pieces_that_join() -> None:
    count = 2 * MOST_TOKENS + 10
    tokens = FakeTokens()
    job = job_of(chat("p", count, temperature=0), tier=Tier.REALTIME)
    line = await served(job, saved=saved_of(count - 1), tokens=tokens)
    assert len(tokens.deltas) >= 3
    assert max(len(delta.token_ids) for delta in tokens.deltas) <= MOST_TOKENS
    assert "".join(delta.text for delta in tokens.deltas) == text_of(line)
    assert sum(len(delta.token_ids) for delta in tokens.deltas) == count
    assert [delta.finish_reason for delta in tokens.deltas if delta.finish_reason] == ["length"]


async def test_tenants_share_nothing_that_was_computed_for_one_of_them() -> None:
    class Listening(ScriptedEngine):
        salts: list[str]

        async def generate(
            self, prompt_ids: Sequence[int], sampling: Sampling, *, request_id: str, priority: int,
            salt: str = "",
        ) -> AsyncGenerator[Step, None]:  # fmt: skip
            self.salts.append(salt)
            steps = super().generate(
                prompt_ids, sampling, request_id=request_id, priority=priority, salt=salt
            )
            async for step in steps:
                yield step

        async def embed(
            self, prompt_ids: Sequence[int], *, request_id: str, priority: int, salt: str = ""
        ) -> list[float]:
            self.salts.append(salt)
            return await super().embed(
                prompt_ids, request_id=request_id, priority=priority, salt=salt
            )

    engine = Listening(model="m")
    engine.salts = []
    for tenant in ("acme", "globex"):
        for request in (chat("p", 3), {"url": "/v1/embeddings", "body": {"input": "p"}}):
            job = job_of(request)
            await served(msgspec.structs.replace(job, tenant=tenant), engine=engine)
    assert engine.salts == ["acme", "acme", "globex", "globex"]
