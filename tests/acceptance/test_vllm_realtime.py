"""A sampled chat on real vLLM outlives its node: what was read stays, and the rest follows."""

import asyncio
from contextlib import aclosing
from importlib.util import find_spec

import pytest

from consumers.setup.models import cache_dir, ensure_model
from fleet.broker.connection import Connection
from fleet.broker.nodes import Nodes
from fleet.broker.tokens import TokenStream
from fleet.job import Tier
from fleet.live_answer import choices
from fleet.pool.fleet_plan import FleetPlan
from fleet.pool.fleet_up import fleet_up
from fleet.producer import Producer
from tests.tools import missing

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(400)]
TENANT = "acceptance"
TOKENS, ENOUGH = 96, 24


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("vllm") is None:
        missing("vLLM is not installed: run `just setup`")
    # No checkpoint comes in time: all that is known of the answer is what was told.
    for name, value in {"ACK_WAIT_S": "5", "BEAT_TTL_S": "3", "CHECKPOINT_S": "300"}.items():
        monkeypatch.setenv(f"FLEET_{name}", value)


async def owner(connection: Connection) -> str:
    """Wait for a heartbeat that says who has the job."""
    while True:
        for node in await Nodes(connection).list():
            if node.jobs:
                return node.node
        await asyncio.sleep(0.05)


async def test_a_sampled_answer_goes_on_from_what_its_reader_has_seen() -> None:
    ensure_model("smollm2", cache_dir())
    plan = FleetPlan(model="smollm2", engine="vllm", on_demand=2, spot=0)
    messages = [{"role": "user", "content": "Tell me a long story about the sea."}]
    request = {
        "url": "/v1/chat/completions",
        "body": {"messages": messages, "max_tokens": TOKENS, "temperature": 1, "ignore_eos": True},
    }
    async with asyncio.timeout(380), fleet_up(plan) as fleet:
        producer = Producer(fleet.connection, tenant=TENANT)
        ticket = await producer.submit(request, model="smollm2", tier=Tier.REALTIME)
        text, tokens, killed = "", 0, None
        async with aclosing(producer.stream(ticket)) as deltas:
            async for delta in deltas:
                assert (delta.text_offset, delta.offset) == (len(text), tokens)
                text, tokens = text + delta.text, tokens + len(delta.token_ids)
                if killed is None and tokens >= ENOUGH:
                    killed = await owner(fleet.connection)
                    fleet.pool.kill(killed)
        (line,) = await producer.result(ticket)
        said = await TokenStream(fleet.connection).read(TENANT, None, ticket.job)
    assert killed is not None
    assert line.fleet.node != killed
    assert line.fleet.interruptions == 1
    assert line.fleet.resumed != "restarted"
    (choice,) = choices(line)
    assert (choice.text, tokens) == (text, TOKENS)
    told = [message.delta for message in said if message.delta]
    assert sum(len(delta.token_ids) for delta in told) == TOKENS, "nothing was told twice"
