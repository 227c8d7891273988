"""Embeddings of a real model: of length one, and close where the meaning is close."""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from importlib.util import find_spec

import pytest
import pytest_asyncio

from consumers.engine import Engine, Rendered, Sampling
from consumers.engine_settings import VllmSettings
from consumers.setup.models import cache_dir, ensure_model
from consumers.vllm_engine import start
from fleet.body import ChatBody, EmbeddingBody, Message
from fleet.errors import JobRejected
from fleet.job import Item
from tests.tools import missing

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # of vLLM and torch, which are not ours to mend
]
CAT, KITTEN, TAX = (
    "A cat sits on the mat.",
    "A kitten is on the rug.",
    "Tax returns are due in May.",
)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engine() -> AsyncIterator[Engine]:
    if find_spec("vllm") is None:
        missing("vLLM is not installed: run `just setup`")
    path = ensure_model("minilm", cache_dir())
    async with start(VllmSettings(model_path=str(path), served_model="minilm")) as started:
        yield started


async def embed(engine: Engine, *texts: str) -> list[list[float]]:
    item = Item(index=0, custom_id=None, body=EmbeddingBody(input=texts))
    (rendered,) = await engine.render([item])
    assert isinstance(rendered, Rendered), rendered
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(engine.embed(ids, request_id="r", priority=0))
            for ids in rendered.prompts
        ]
    return [task.result() for task in tasks]


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


async def test_a_model_directory_tells_that_it_embeds(engine: Engine) -> None:
    assert engine.facts.embeds
    assert engine.facts.dtype == "float32"


async def test_vectors_have_length_one_and_similar_sentences_are_closer(engine: Engine) -> None:
    cat, kitten, tax = await embed(engine, CAT, KITTEN, TAX)
    assert len(cat) == 384
    assert math.hypot(*cat) == pytest.approx(1, abs=1e-5)
    assert cosine(cat, kitten) > cosine(cat, tax) + 0.3


async def test_a_vector_does_not_depend_on_its_neighbours(engine: Engine) -> None:
    (alone,) = await embed(engine, CAT)
    among = await embed(engine, *[f"{TAX} {n}" for n in range(20)], CAT)
    assert among[-1] == pytest.approx(alone, abs=1e-5)


async def test_a_text_that_is_too_long_is_refused_and_so_is_a_chat(engine: Engine) -> None:
    long = EmbeddingBody(input="word " * (engine.facts.context_tokens + 1))
    chat = ChatBody(messages=(Message("user", "hi"),))
    refused = await engine.render(
        [Item(index=0, custom_id=None, body=long), Item(index=1, custom_id=None, body=chat)]
    )
    codes = [outcome.code for outcome in refused if isinstance(outcome, JobRejected)]
    assert codes == ["context_exceeded", "wrong_endpoint"]


async def test_asking_it_to_generate_is_a_refusal(engine: Engine) -> None:
    with pytest.raises(JobRejected, match="does not support generation"):
        await anext(engine.generate([5, 6], Sampling(max_tokens=2), request_id="r", priority=0))
