"""The table of what an interruption does to an answer, row by row, on the real engine."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from importlib.util import find_spec
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from consumers.answer import Answer
from consumers.engine import Engine, Sampling
from consumers.engine_settings import VllmSettings
from consumers.feed import Feed
from consumers.meter import ShareClock, Totals
from consumers.serve import Server
from consumers.setup.models import cache_dir, ensure_model
from consumers.vllm_engine import start
from consumers.work import Work
from fleet.claim import Claim, Saved
from fleet.job import ResultLine
from tests.asking import chat, text_of
from tests.fakes import ME, FakeTokens, job_of
from tests.tools import missing

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # of vLLM and torch, which are not ours to mend
]
TOKENS = 20
PROMPT = "Tell me a story about a fox."
SHORT = "What is the capital of France? Answer in one sentence."
SCHEMA = {
    "type": "object",
    "properties": {"animal": {"enum": ["fox", "hen"]}, "age": {"type": "integer"}},
    "required": ["animal", "age"],
    "additionalProperties": False,
}
GUIDED = {"type": "json_schema", "json_schema": {"name": "animal", "schema": SCHEMA}}
EXACT: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "repetition penalty": {"temperature": 0, "repetition_penalty": 1.3},
    "frequency penalty": {"temperature": 0, "frequency_penalty": 1.5},
    "presence penalty": {"temperature": 0, "presence_penalty": 1.5},
    "all penalties": {
        "temperature": 0,
        "repetition_penalty": 1.1,
        "frequency_penalty": -0.2,
        "presence_penalty": 0.6,
    },
    "a seed": {"temperature": 1.0, "seed": 5},
    "a seed of its own": {"temperature": 1.0},
    "top_p": {"temperature": 0.9, "seed": -3, "top_p": 0.8},
    "top_k": {"temperature": 1.2, "seed": 4, "top_k": 20},
    "min_p": {"temperature": 1.5, "seed": 2**63 - 1, "min_p": 0.1},
    "everything at once": {
        "temperature": 0.9,
        "seed": 11,
        "top_p": 0.95,
        "top_k": 100,
        "min_p": 0.01,
        "repetition_penalty": 1.1,
        "frequency_penalty": 0.5,
        "presence_penalty": 0.5,
        "min_tokens": 16,
    },
}
# They run beside an answer that goes on, which they must not change.
OTHERS = (
    chat("Count to ten.", 8, temperature=0),
    chat("Name a river.", 12, temperature=1, seed=1),
    chat("Say hello.", 10, temperature=0, presence_penalty=1.0),
)


class Served(NamedTuple):
    """A result line, the sequences behind it, and how many tokens the engine made for it."""

    line: ResultLine
    answers: list[Answer]
    made: int

    @property
    def ids(self) -> list[int]:
        """The tokens of the first choice."""
        return self.answers[0].ids

    @property
    def told(self) -> tuple[Any, Any]:
        """What the caller sees."""
        assert self.line.response is not None, self.line.error
        return self.line.response.body["choices"], self.line.usage

    def cut(self, tokens: int) -> Saved:
        """Return the checkpoint that a consumer leaves when it dies after so many tokens."""
        return Saved(0, self.answers[0].prompt_ids, tuple(self.ids[:tokens]))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engine() -> AsyncIterator[Engine]:
    if find_spec("vllm") is None:
        missing("vLLM is not installed: run `just setup`")
    path = ensure_model("smollm2", cache_dir())
    wanted = VllmSettings(model_path=str(path), served_model="m", max_num_seqs=12)
    async with start(wanted) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def wholes(engine: Engine) -> dict[str, Served]:
    """Answers to all rows that go on exactly, made at once and never cut."""
    async with asyncio.TaskGroup() as group:
        tasks = {
            row: group.create_task(served(engine, chat(PROMPT, TOKENS, **EXACT[row])))
            for row in EXACT
        }
    return {row: task.result() for row, task in tasks.items()}


async def served(engine: Engine, request: dict[str, Any], saved: Saved | None = None) -> Served:
    """Serve the only item of a job, going on from what an earlier consumer saved."""
    job = job_of(request)
    claim = Claim(
        owner="old", writer="w", sha256=job.sha256, interruptions=1, saved=(saved,) if saved else ()
    )
    work, totals = Work(job, done=frozenset(), last=0, claim=claim), Totals()
    server = Server(
        engine=engine,
        me=ME,
        clock=ShareClock(),
        totals=totals,
        feed=Feed(FakeTokens(), node="me"),
    )
    rendered = await server.render(work)
    (run,) = work.open
    await server.serve(work, run, rendered.get(0), 0.0)
    (line,) = work.pending
    return Served(line, list(run.answers), totals.tokens_generated)


async def resumed(engine: Engine, request: dict[str, Any], whole: Served, *cuts: int) -> None:
    """Check that an answer goes on from each cut, all at once and among others, to the same end."""
    async with asyncio.TaskGroup() as group:
        for other in OTHERS:
            group.create_task(served(engine, other))
        tasks = {k: group.create_task(served(engine, request, whole.cut(k))) for k in cuts}
    for k, task in tasks.items():
        again = task.result()
        assert again.line.fleet.resumed == "exact"
        assert again.ids == whole.ids, f"after {k} tokens"
        assert again.told == whole.told
        assert again.made == len(whole.ids) - k


@pytest.mark.parametrize("row", EXACT)
async def test_an_answer_goes_on_as_if_it_had_never_been_cut(
    engine: Engine, wholes: dict[str, Served], row: str
) -> None:
    whole = wholes[row]
    assert whole.line.fleet.resumed == "no"
    request = chat(PROMPT, TOKENS, **EXACT[row])
    await resumed(engine, request, whole, 1, 11, len(whole.ids) - 1)


async def test_each_row_is_an_answer_of_its_own_so_none_is_proven_by_another(
    wholes: dict[str, Served],
) -> None:
    assert len({text_of(whole.line) for whole in wholes.values()}) == len(EXACT)


async def test_noise_depends_on_the_place_in_the_answer(
    engine: Engine, wholes: dict[str, Served]
) -> None:
    asked = {"max_tokens": TOKENS - 4, "temperature": 1.0, "seed": 5, "ignore_eos": True}
    whole = wholes["a seed"]
    prompt = (*whole.answers[0].prompt_ids, *whole.ids[:4])

    async def tail(kept: int) -> list[int]:
        got: list[int] = []
        sampling = Sampling(kept=kept, **asked)  # type: ignore[arg-type]  # of several types
        async with aclosing(engine.generate(prompt, sampling, request_id="r", priority=0)) as steps:
            async for step in steps:
                got += step.token_ids
        return got

    assert await tail(4) == whole.ids[4:]
    assert await tail(0) != whole.ids[4:]


async def test_tokens_at_least_are_counted_over_the_whole_answer(engine: Engine) -> None:
    short = await served(engine, chat(SHORT, 40, temperature=0))
    request = chat(SHORT, 40, temperature=0, min_tokens=20)
    whole = await served(engine, request)
    assert len(short.ids) < 20 <= len(whole.ids)
    await resumed(engine, request, whole, 3, len(short.ids), 19)


async def test_a_stop_string_is_seen_across_the_cut(
    engine: Engine, wholes: dict[str, Served]
) -> None:
    free = wholes["greedy"]
    stop = engine.decode(free.ids[9:13])[1:-1]
    request = chat(PROMPT, TOKENS, temperature=0, stop=stop)
    whole = await served(engine, request)
    assert text_of(whole.line) == text_of(free.line).partition(stop)[0]
    assert len(whole.ids) == 13
    await resumed(engine, request, whole, 5, 10, 11, 12)


async def test_an_answer_that_had_ended_is_not_asked_for_again(engine: Engine) -> None:
    request = chat(SHORT, 40, temperature=0)
    whole = await served(engine, request)
    assert whole.ids[-1] in engine.end_token_ids
    await resumed(engine, request, whole, len(whole.ids))


async def test_an_answer_whose_limit_was_used_up_is_not_asked_for_again(engine: Engine) -> None:
    request = chat(PROMPT, 8, temperature=0)
    whole = await served(engine, request)
    await resumed(engine, request, whole, 8)


@pytest.mark.parametrize("sampled", [{"temperature": 0}, {"temperature": 1.3}])
async def test_an_answer_to_a_schema_begins_again_and_comes_out_the_same(
    engine: Engine, sampled: dict[str, Any]
) -> None:
    request = chat("Describe an animal as JSON.", 32, response_format=GUIDED, **sampled)
    whole = await served(engine, request)
    again = await restarted(engine, request, whole)
    assert set(json.loads(text_of(again.line))) == {"animal", "age"}
    assert again.told == whole.told


async def test_several_choices_begin_again_and_come_out_the_same(engine: Engine) -> None:
    request = chat(PROMPT, 12, n=2, temperature=1, seed=8)
    whole = await served(engine, request)
    assert whole.answers[0].ids != whole.answers[1].ids
    assert (await restarted(engine, request, whole)).told == whole.told


async def test_log_probabilities_begin_again_and_come_out_the_same(engine: Engine) -> None:
    request = chat(PROMPT, 12, temperature=0.7, logprobs=True, top_logprobs=2)
    whole = await served(engine, request)
    again = await restarted(engine, request, whole)
    assert (again.ids, text_of(again.line)) == (whole.ids, text_of(whole.line))
    assert chances(again) == pytest.approx(chances(whole), abs=1e-4)


def chances(one: Served) -> list[float]:
    """All log probabilities of an answer."""
    return [entry.logprob for position in one.answers[0].logprobs for entry in position]


async def restarted(engine: Engine, request: dict[str, Any], whole: Served) -> Served:
    """Serve once more, among others, what was cut and could not be kept."""
    async with asyncio.TaskGroup() as group:
        for other in OTHERS:
            group.create_task(served(engine, other))
        task = group.create_task(served(engine, request, Saved(0, (), ())))
    again = task.result()
    assert again.line.fleet.resumed == "restarted"
    assert again.made == sum(len(answer.ids) for answer in again.answers)
    assert [answer.ids for answer in again.answers] == [answer.ids for answer in whole.answers]
    return again
