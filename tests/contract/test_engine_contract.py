"""What every engine does for the runner: one suite, run on each of them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from importlib.util import find_spec

import pytest
import pytest_asyncio

from consumers.engine import Engine, Rendered, Sampling
from consumers.engine_settings import VllmSettings
from consumers.scripted_engine import ScriptedEngine
from consumers.setup.models import cache_dir, ensure_model
from consumers.vllm_engine import start
from fleet.body import ChatBody, Message
from fleet.errors import JobRejected
from fleet.job import Item
from tests.tools import missing

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # of vLLM and torch, which are not ours to mend
]
TOKENS = 24
GREEDY = Sampling(max_tokens=TOKENS, temperature=0, ignore_eos=True)


@pytest_asyncio.fixture(
    loop_scope="module",
    scope="module",
    params=["scripted", pytest.param("vllm", marks=pytest.mark.vllm)],
)
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    if request.param == "scripted":
        yield ScriptedEngine(model="m", slots=8)
        return
    if find_spec("vllm") is None:
        missing("vLLM is not installed: run `just setup`")
    path = ensure_model("tiny", cache_dir())
    settings = VllmSettings(model_path=str(path), served_model="m", max_num_seqs=8)
    async with start(settings) as started:
        yield started


def chat(text: str, *, index: int = 0, max_tokens: int = TOKENS) -> Item:
    body = ChatBody(messages=(Message("user", text),), max_tokens=max_tokens)
    return Item(index=index, custom_id=None, body=body)


async def prompt(engine: Engine, text: str) -> tuple[int, ...]:
    (rendered,) = await engine.render([chat(text)])
    assert isinstance(rendered, Rendered), rendered
    return rendered.prompts[0]


async def tokens(engine: Engine, ids: tuple[int, ...], sampling: Sampling = GREEDY) -> list[int]:
    got: list[int] = []
    finish = None
    async with aclosing(engine.generate(ids, sampling, request_id="r", priority=0)) as steps:
        async for step in steps:
            assert finish is None, "nothing comes behind the finish"
            got += step.token_ids
            finish = step.finish
    assert finish == "length"
    return got


async def test_an_answer_has_as_many_tokens_as_asked_for(engine: Engine) -> None:
    assert len(await tokens(engine, await prompt(engine, "hello"))) == TOKENS


async def test_a_greedy_answer_goes_on_from_any_cut(engine: Engine) -> None:
    ids = await prompt(engine, "tell me about rivers")
    whole = await tokens(engine, ids)
    for cut in (1, 7, 15, TOKENS - 1):
        rest = Sampling(max_tokens=TOKENS - cut, temperature=0, ignore_eos=True)
        assert await tokens(engine, (*ids, *whole[:cut]), rest) == whole[cut:]


async def test_an_answer_does_not_depend_on_its_neighbours(engine: Engine) -> None:
    prompts = [await prompt(engine, f"question {number}") for number in range(6)]
    alone = [await tokens(engine, ids) for ids in prompts]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(tokens(engine, ids)) for ids in prompts]
    assert [task.result() for task in tasks] == alone


async def test_a_prompt_that_does_not_fit_is_refused_and_its_neighbours_are_not(
    engine: Engine,
) -> None:
    items = [chat("short"), chat("w " * 200_000, index=1), chat("short too", index=2)]
    first, long, third = await engine.render(items)
    assert isinstance(first, Rendered)
    assert isinstance(third, Rendered)
    assert isinstance(long, JobRejected)
    assert long.code == "context_exceeded"


async def test_more_tokens_than_the_context_holds_are_refused(engine: Engine) -> None:
    (refused,) = await engine.render([chat("short", max_tokens=1_000_000)])
    assert isinstance(refused, JobRejected)
    assert refused.code == "context_exceeded"


async def test_closing_an_answer_early_leaves_the_engine_fit_for_the_next(engine: Engine) -> None:
    ids = await prompt(engine, "long")
    long = Sampling(max_tokens=500, temperature=0, ignore_eos=True)
    async with aclosing(engine.generate(ids, long, request_id="r", priority=0)) as steps:
        async for _ in steps:
            break
    assert len(await tokens(engine, ids)) == TOKENS


async def test_all_ids_decode_to_the_texts_of_their_parts(engine: Engine) -> None:
    ids = await tokens(engine, await prompt(engine, "hello"))
    assert isinstance(engine.decode(ids), str)
    assert all(isinstance(engine.token_text(one), str) for one in ids)


async def test_log_probabilities_come_for_each_token_the_chosen_one_first(engine: Engine) -> None:
    ids = await prompt(engine, "hello")
    asked = Sampling(max_tokens=5, temperature=0, ignore_eos=True, logprobs=1)
    async with aclosing(engine.generate(ids, asked, request_id="r", priority=0)) as steps:
        async for step in steps:
            assert [entries[0].token_id for entries in step.logprobs] == list(step.token_ids)


async def test_an_engine_at_rest_is_alive(engine: Engine) -> None:
    assert time.monotonic() - engine.alive_at < 30
