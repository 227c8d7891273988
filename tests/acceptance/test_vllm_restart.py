"""A consumer outlives its engine: the jobs are handed over, the core goes, another one comes."""

import asyncio
import os
import signal
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from consumers.setup.models import cache_dir, ensure_model
from fleet.events import EngineLost, JobReleased
from fleet.pool.fleet_up import Fleet, FleetPlan, fleet_up
from tests.acceptance.test_vllm_orphans import gone
from tests.asking import Asker, chunk, event_of, events_of, eventually
from tests.tools import missing

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(400)]
ALIVE_S = 4.0
ITEMS, TOKENS = 6, 900


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("vllm") is None:
        missing("vLLM is not installed: run `just setup`")
    times = {"ACK_WAIT_S": "5", "BEAT_TTL_S": "3", "CHECKPOINT_S": "1", "ALIVE_S": f"{ALIVE_S:g}"}
    for name, value in times.items():
        monkeypatch.setenv(f"FLEET_{name}", value)


async def test_a_core_that_is_killed_or_frozen_is_replaced_and_its_jobs_finish(
    unique: str,
) -> None:
    path = await asyncio.to_thread(ensure_model, "tiny", cache_dir())
    plan = FleetPlan(
        model="tiny", engine="vllm", on_demand=0, spot=1, arguments=("--model-path", str(path))
    )
    async with fleet_up(plan) as fleet:
        asker = Asker(fleet.connection, unique, model="tiny")
        (node,) = fleet.pool.running()
        cores: list[int] = []
        for number, name in enumerate((signal.SIGKILL, signal.SIGSTOP)):
            job = f"job{number}"
            await asker.publish("batch", job_of(job), headers={"Fleet-Job-Id": job})
            await beginning(fleet, node.node)
            (core,) = children(node.pid)
            cores.append(core)
            hurt_at = time.time()
            os.kill(core, name)
            released = await event_of(
                fleet.connection, JobReleased, bound_s=60, tenant=unique, job=job
            )
            # To notice it and to save the job: a core that is killed is noticed within a second.
            assert released.at - hurt_at < (1 if name is signal.SIGKILL else ALIVE_S + 1) + 1
            lines = await asker.lines(job, bound_s=120)
            assert len(lines) == ITEMS
            assert {(line.usage or {})["completion_tokens"] for line in lines} == {TOKENS}
            assert {line.fleet.node for line in lines} == {node.node}
        lost = await events_of(fleet.connection, EngineLost)
        assert [event.restarts for event in lost] == [True, True]
        assert fleet.pool.running() == [node]
        cores += children(node.pid)
    assert len(set(cores)) == 3
    assert gone(cores)


def job_of(name: str) -> dict[str, object]:
    body = {"max_tokens": TOKENS, "temperature": 0, "ignore_eos": True}
    return chunk(
        [
            {
                "custom_id": f"{name}-{n}",
                "url": "/v1/completions",
                "body": {**body, "prompt": f"{name} item {n}"},
            }
            for n in range(ITEMS)
        ]
    )


async def beginning(fleet: Fleet, node: str) -> None:
    """Wait until the node has generated something of the job."""
    before = await tokens(fleet, node)

    async def look() -> bool:
        return await tokens(fleet, node) > before

    await eventually(look, "tokens", bound_s=60)


async def tokens(fleet: Fleet, name: str) -> int:
    return sum(n.tokens_generated for n in await fleet.nodes.list() if n.node == name)


def children(pid: int) -> list[int]:
    """The engine's processes: not the helper of multiprocessing that cleans up behind them."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    pids = [int(child) for file in found for child in file.read_text().split()]
    return [pid for pid in pids if b"resource_tracker" not in _command(pid)]


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
