"""The engine under load and in trouble, on a tiny model: who goes first, and who is alive."""

import asyncio
import math
import multiprocessing
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from importlib.util import find_spec

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from consumers.engine import Logprob, Sampling
from consumers.engine_settings import CPU_BLOCK_TOKENS, VllmSettings
from consumers.setup.models import cache_dir, ensure_model
from consumers.vllm_engine import VllmEngine, start
from fleet.body import CompletionBody
from fleet.errors import EngineDead, JobRejected
from fleet.job import Item
from tests.acceptance.test_vllm_orphans import gone
from tests.tools import missing

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # of vLLM and torch, which are not ours to mend
]
SLOTS = 2
CONTEXT = 1024
PROMPT = tuple(range(100, 120))
LONG = Sampling(max_tokens=900, temperature=0, ignore_eos=True)
SHORT = Sampling(max_tokens=60, temperature=0, ignore_eos=True)


def settings(*, hang_s: float = 60.0) -> VllmSettings:
    if find_spec("vllm") is None:
        missing("vLLM is not installed: run `just setup`")
    return VllmSettings(
        model_path=str(ensure_model("tiny", cache_dir())),
        served_model="m",
        max_num_seqs=SLOTS,
        max_model_len=CONTEXT,
        hang_s=hang_s,
        counts=True,
    )


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engine() -> AsyncIterator[VllmEngine]:
    async with start(settings()) as started:
        yield started


async def answer(
    engine: VllmEngine, sampling: Sampling = SHORT, *, priority: int = 0, steps: int | None = None
) -> list[tuple[int, tuple[Logprob, ...]]]:
    """Return the tokens with their log probabilities; stop listening after so many steps."""
    got: list[tuple[int, tuple[Logprob, ...]]] = []
    stream = engine.generate(PROMPT, sampling, request_id="same", priority=priority)
    async with aclosing(stream):
        async for step in stream:
            got += zip(step.token_ids, step.logprobs or [()] * len(step.token_ids), strict=True)
            if steps is not None and (steps := steps - 1) <= 0:
                break
    return got


async def test_an_answer_that_nobody_listens_to_any_more_leaves_the_engine(
    engine: VllmEngine,
) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(2 * SLOTS):
            group.create_task(answer(engine, LONG, steps=3))
    assert engine._llm.get_num_unfinished_requests() == 0  # noqa: SLF001 - nobody else can tell


async def test_a_cancelled_task_takes_its_request_along(engine: VllmEngine) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(answer(engine, LONG))
        await answer(engine)
        task.cancel()
    assert engine._llm.get_num_unfinished_requests() == 0  # noqa: SLF001 - nobody else can tell


async def test_what_is_urgent_gets_the_next_free_slot(engine: VllmEngine) -> None:
    order: list[str] = []

    async def run(name: str, priority: int) -> None:
        await answer(engine, priority=priority)
        order.append(name)

    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(run("batch", 20)) for _ in range(8)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        group.create_task(run("realtime", 0))
    assert order.index("realtime") <= 2 * SLOTS


async def test_log_probabilities_are_ranked_and_a_greedy_choice_is_the_likeliest(
    engine: VllmEngine,
) -> None:
    asked = Sampling(max_tokens=6, temperature=0, ignore_eos=True, logprobs=3)
    for token, (chosen, *others) in await answer(engine, asked):
        assert chosen == Logprob(token, chosen.logprob, 1)
        assert [entry.rank for entry in others] == [1, 2, 3]
        likely = [entry.logprob for entry in others]
        assert likely == sorted(likely, reverse=True)
        assert 0 >= chosen.logprob == likely[0]


@pytest.mark.parametrize(
    "bad",
    [
        Sampling(max_tokens=0),
        Sampling(max_tokens=3, min_tokens=4),
        Sampling(max_tokens=3, logprobs=10_000),
        Sampling(max_tokens=3, temperature=float("nan")),
    ],
)
async def test_what_the_engine_refuses_is_a_refusal_and_its_neighbours_go_on(
    engine: VllmEngine, bad: Sampling
) -> None:
    async with asyncio.TaskGroup() as group:
        neighbour = group.create_task(answer(engine))
        with pytest.raises(JobRejected, match="engine refuses"):
            await answer(engine, bad)
    assert len(neighbour.result()) == SHORT.max_tokens


async def test_a_prompt_longer_than_the_context_is_a_refusal_wherever_it_comes_from(
    engine: VllmEngine,
) -> None:
    ids = PROMPT * 60
    body = CompletionBody(prompt=ids, max_tokens=1)
    (rendered,) = await engine.render([Item(index=0, custom_id=None, body=body)])
    assert isinstance(rendered, JobRejected)
    assert f"context of {CONTEXT}" in str(rendered)
    with pytest.raises(JobRejected):
        await anext(engine.generate(ids, SHORT, request_id="r", priority=0))


def cached_tokens() -> float:
    """How many tokens vLLM did not compute again; it counts them in the registry that we show.

    The next engine of this process puts its own counts in their place.
    """
    found = [
        sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == "vllm:prefix_cache_hits_total"
    ]
    return sum(found)


async def test_no_tenant_is_served_what_was_computed_for_another(engine: VllmEngine) -> None:
    prompt = tuple(range(5, 5 + 3 * CPU_BLOCK_TOKENS))

    async def ask(salt: str) -> float:
        before = cached_tokens()
        steps = engine.generate(prompt, SHORT, request_id="salted", priority=0, salt=salt)
        async with aclosing(steps):
            async for _ in steps:
                pass
        # Counted behind the answer's last token.
        await answer(engine)
        return cached_tokens() - before

    assert await ask("acme") == 0
    assert await ask("acme") >= CPU_BLOCK_TOKENS
    assert await ask("globex") == 0


async def test_a_core_that_hangs_shows_no_life_and_counts_as_dead_in_the_end() -> None:
    before = multiprocessing.active_children()
    async with start(settings(hang_s=4.0)) as engine:
        (core,) = (c.pid for c in multiprocessing.active_children() if c not in before)
        assert core
        with pytest.raises(EngineDead):
            os.kill(core, signal.SIGSTOP)
            stopped_at = time.monotonic()
            async with asyncio.timeout(20):
                while time.monotonic() - engine.alive_at < 3:  # noqa: ASYNC110 - no event tells
                    await asyncio.sleep(0.05)
            assert engine.alive_at - stopped_at < 1.5
            await answer(engine)
        assert engine.alive_at == -math.inf
        # By its number: two threads that wait for one child tell each other nothing for a moment.
        assert gone([core])
