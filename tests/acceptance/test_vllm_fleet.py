"""The main job on real vLLM: an interrupted batch equals an undisturbed one, token for token."""

import asyncio
import io
import math
import time
from importlib.util import find_spec

import msgspec
import pytest

from consumers.setup.models import cache_dir, ensure_model
from fleet.batch_file import bodies, survey
from fleet.batches import Batches, draft
from fleet.broker.claims import Claims
from fleet.broker.results import ResultLog
from fleet.demo.play import prompts
from fleet.job import ResultLine, Tier
from fleet.manifest import Manifest, job_id
from fleet.pool.fleet_plan import FleetPlan
from fleet.pool.fleet_up import Fleet, fleet_up
from fleet.producer import Producer
from tests.tools import missing

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(400)]
TENANT = "acceptance"
ITEMS, CHUNK, TOKENS = 12, 4, 128
WAYS: tuple[dict[str, float], ...] = (
    {"temperature": 0},
    {"temperature": 1.0},
    {"temperature": 0.8, "top_p": 0.9, "frequency_penalty": 0.5},
)


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("vllm") is None:
        missing("vLLM is not installed: run `just setup`")
    for name, value in {"ACK_WAIT_S": "5", "BEAT_TTL_S": "3", "CHECKPOINT_S": "1"}.items():
        monkeypatch.setenv(f"FLEET_{name}", value)


def some_prompts() -> bytes:
    """Prompts whose answers are chosen in each way that can go on exactly, in turn."""
    lines = []
    for number, line in enumerate(prompts().splitlines()[:ITEMS]):
        request = msgspec.json.decode(line)
        how = WAYS[number % len(WAYS)]
        request["body"] |= {"max_tokens": TOKENS, "seed": number} | how
        lines.append(msgspec.json.encode(request))
    return b"\n".join(lines)


async def submit(fleet: Fleet, name: str) -> Manifest:
    raw = some_prompts()
    checked = survey(io.BytesIO(raw), chunk=CHUNK)
    plan = draft(
        checked, tenant=TENANT, model="smollm2", input_name=name, now=time.time(), batch=name
    )
    batches = Batches(fleet.connection, tenant=TENANT)
    return await batches.submit(plan, bodies(io.BytesIO(raw), checked))


async def lines_of(fleet: Fleet, manifest: Manifest) -> list[ResultLine]:
    """Wait until the batch is complete, and return every line of its raw log."""
    async for _ in Batches(fleet.connection, tenant=TENANT).watch(manifest.id):
        pass
    log = ResultLog(fleet.connection)
    return [line async for message in log.follow(TENANT, manifest.id) for line in message.lines]


def is_sampled(item: int) -> bool:
    return item % len(WAYS) != 0


async def holder(fleet: Fleet, manifest: Manifest) -> str:
    """Wait for a consumer that has saved a sampled answer's beginning, and most is to come."""
    claims = Claims(fleet.connection)
    while True:
        for number in range(manifest.jobs):
            held = await claims.get(TENANT, job_id(manifest.id, number))
            if held is None or held.claim is None or held.claim.owner is None:
                continue
            for saved in held.claim.saved:
                if is_sampled(number * CHUNK + saved.index) and len(saved.done_ids) < TOKENS / 2:
                    return held.claim.owner
        await asyncio.sleep(0.05)


def told(lines: list[ResultLine]) -> dict[str, object]:
    """Return text, end and usage by custom_id; the names must be there once each."""
    assert all(line.error is None and line.response is not None for line in lines), lines
    assert len({line.custom_id for line in lines}) == len(lines) == ITEMS
    return {
        str(line.custom_id): (line.response.body["choices"], line.usage)
        for line in lines
        if line.response
    }


def likeness(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_a_killed_consumers_batch_is_the_same_token_for_token() -> None:
    ensure_model("smollm2", cache_dir())
    plan = FleetPlan(
        model="smollm2", engine="vllm", on_demand=0, spot=2, arguments=("--slots", "12")
    )
    async with asyncio.timeout(380), fleet_up(plan) as fleet:
        calm = told(await lines_of(fleet, await submit(fleet, "calm")))
        hurt = await submit(fleet, "hurt")
        fleet.pool.kill(await holder(fleet, hurt))
        lines = await lines_of(fleet, hurt)
        assert told(lines) == calm
        assert {line.fleet.resumed for line in lines} <= {"no", "exact"}
        sampled = {f"prompt-{n:02}" for n in range(ITEMS) if is_sampled(n)}
        assert any(line.fleet.resumed == "exact" and line.custom_id in sampled for line in lines)
        assert any(line.fleet.interruptions for line in lines)


async def test_embeddings_are_served_in_real_time() -> None:
    ensure_model("minilm", cache_dir())
    plan = FleetPlan(model="minilm", engine="vllm", on_demand=1, spot=0)
    request = b'{"url":"/v1/embeddings","body":{"input":["a dog","a puppy","a tax form"]}}'
    async with asyncio.timeout(300), fleet_up(plan) as fleet:
        producer = Producer(fleet.connection, tenant=TENANT)
        ticket = await producer.submit(request, model="minilm", tier=Tier.REALTIME)
        (line,) = await producer.result(ticket)
    assert line.response is not None, line.error
    dog, puppy, form = (entry["embedding"] for entry in line.response.body["data"])
    assert all(math.isclose(math.hypot(*vector), 1, abs_tol=1e-3) for vector in (dog, puppy, form))
    assert likeness(dog, puppy) > likeness(dog, form)
