"""The real engine where the scripted one cannot stand in: schemas, end tokens, deaths."""

import asyncio
import gc
import json
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from importlib.util import find_spec

import pytest
import pytest_asyncio

from consumers.engine import Engine, Rendered, Sampling
from consumers.engine_settings import VllmSettings
from consumers.setup.models import cache_dir, ensure_model
from consumers.vllm_engine import start
from fleet.body import ChatBody, Message
from fleet.errors import EngineDead, JobRejected
from fleet.job import Item
from tests.tools import missing

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # of vLLM and torch, which are not ours to mend
]
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}},
    "required": ["colour"],
    "additionalProperties": False,
}


def settings(model: str) -> VllmSettings:
    if find_spec("vllm") is None:
        missing("vLLM is not installed: run `just setup`")
    path = ensure_model(model, cache_dir())
    return VllmSettings(model_path=str(path), served_model="m", max_num_seqs=8)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engine() -> AsyncIterator[Engine]:
    wanted = settings("smollm2")

    async with start(wanted) as started:
        yield started


async def prompt(engine: Engine, text: str) -> tuple[int, ...]:
    item = Item(
        index=0, custom_id=None, body=ChatBody(messages=(Message("user", text),), max_tokens=64)
    )
    (rendered,) = await engine.render([item])
    assert isinstance(rendered, Rendered), rendered
    return rendered.prompts[0]


async def answer(engine: Engine, ids: tuple[int, ...], sampling: Sampling) -> list[int]:
    got: list[int] = []
    async with aclosing(engine.generate(ids, sampling, request_id="r", priority=0)) as steps:
        async for step in steps:
            got += step.token_ids
    return got


async def test_it_knows_the_capital_of_france(engine: Engine) -> None:
    ids = await prompt(engine, "What is the capital of France? Answer in one sentence.")
    got = await answer(engine, ids, Sampling(max_tokens=40, temperature=0))
    assert "Paris" in engine.decode(got)
    assert got[-1] in engine.end_token_ids


async def test_an_answer_to_a_schema_follows_it(engine: Engine) -> None:
    ids = await prompt(engine, "Name a colour as JSON.")
    asked = Sampling(max_tokens=40, temperature=0, json_schema=json.dumps(SCHEMA))
    told = json.loads(engine.decode(await answer(engine, ids, asked)))
    assert told["colour"] in {"red", "blue"}


@pytest.mark.parametrize("schema", ['{"type": "nonsense"}', "[", '"text"'])
async def test_a_bad_schema_is_refused_and_the_next_request_is_served(
    engine: Engine, schema: str
) -> None:
    ids = await prompt(engine, "hello")
    with pytest.raises(JobRejected):
        await answer(engine, ids, Sampling(max_tokens=4, temperature=0, json_schema=schema))
    assert await answer(engine, ids, Sampling(max_tokens=4, temperature=0, ignore_eos=True))


async def test_an_odd_pattern_does_not_end_the_engine(engine: Engine) -> None:
    ids = await prompt(engine, "hello")
    odd = '{"type": "string", "pattern": "foo**(?="}'
    with suppress(JobRejected):  # it may also be answered: what counts is the next request
        await answer(engine, ids, Sampling(max_tokens=4, temperature=0, json_schema=odd))
    assert await answer(engine, ids, Sampling(max_tokens=4, temperature=0, ignore_eos=True))


@pytest.mark.parametrize("cut", [3, 11, 19])
@pytest.mark.parametrize("more", [{}, {"repetition_penalty": 1.3}, {"min_tokens": 22}])
async def test_a_real_answer_goes_on_token_for_token(
    engine: Engine, cut: int, more: dict[str, float]
) -> None:
    ids = await prompt(engine, "Explain how a bicycle works.")
    first = {"max_tokens": 24, "temperature": 0.0, **more}
    whole = await answer(engine, ids, Sampling(**first))  # type: ignore[arg-type]
    rest = first | {"max_tokens": 24 - cut}
    if "min_tokens" in more:
        rest["min_tokens"] = max(0, int(more["min_tokens"]) - cut)
    tail = await answer(engine, (*ids, *whole[:cut]), Sampling(**rest))  # type: ignore[arg-type]
    assert tail == whole[cut:]


async def test_eight_answers_at_once_are_those_of_each_alone(engine: Engine) -> None:
    prompts = [await prompt(engine, f"Say something about the number {n}.") for n in range(8)]
    asked = Sampling(max_tokens=16, temperature=0, ignore_eos=True)
    alone = [await answer(engine, ids, asked) for ids in prompts]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(answer(engine, ids, asked)) for ids in prompts]
    assert [task.result() for task in tasks] == alone


async def test_a_core_that_is_killed_ends_every_request_with_engine_dead() -> None:
    wanted = settings("tiny")

    before = multiprocessing.active_children()
    with pytest.raises(ExceptionGroup) as raised:
        async with start(wanted) as engine:
            (core,) = (c for c in multiprocessing.active_children() if c not in before)
            ids = await prompt(engine, "hello")
            long = Sampling(max_tokens=1500, temperature=0, ignore_eos=True)
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(answer(engine, ids, long))
                await asyncio.sleep(0.2)
                os.kill(core.pid or 0, signal.SIGKILL)
    assert raised.group_contains(EngineDead)
    # Its traceback holds the dead engine, whose destructors are noisy: let them run here.
    del raised, engine
    gc.collect()
