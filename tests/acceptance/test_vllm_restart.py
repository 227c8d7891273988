"""A consumer outlives its engine: the jobs are handed over, the core goes, another one comes."""

import asyncio
import os
import re
import resource
import signal
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

from consumers.setup.models import cache_dir, ensure_model
from fleet.events import EngineLost, JobReleased
from fleet.pool.fleet_plan import FleetPlan
from fleet.pool.fleet_up import Fleet, fleet_up
from tests.acceptance.test_vllm_orphans import gone
from tests.asking import Asker, chunk, event_of, events_of, eventually
from tests.tools import missing

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]
ALIVE_S = 8.0
LATE_S = 5.0
ITEMS, TOKENS = 6, 900


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("vllm") is None:
        missing("vLLM is not installed: run `just setup`")
    times = {"ACK_WAIT_S": "5", "BEAT_TTL_S": "3", "CHECKPOINT_S": "1", "ALIVE_S": f"{ALIVE_S:g}"}
    for name, value in times.items():
        monkeypatch.setenv(f"FLEET_{name}", value)


def starve(core: int) -> None:
    """Let the process have no more memory than it has now."""
    (size,) = re.findall(r"VmSize:\s+(\d+) kB", Path(f"/proc/{core}/status").read_text())
    resource.prlimit(core, resource.RLIMIT_AS, (int(size) * 1024,) * 2)


# How a core is hurt, and in how many seconds that is noticed.
HURT: Mapping[str, tuple[Callable[[int], None], float]] = {
    "killed": (lambda core: os.kill(core, signal.SIGKILL), 1.0),
    "frozen": (lambda core: os.kill(core, signal.SIGSTOP), ALIVE_S + 1),
    "starved": (starve, 1.0),
}


async def test_a_core_that_is_killed_frozen_or_out_of_memory_is_replaced_and_its_jobs_finish(
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
        for job, (hurt, noticed_s) in HURT.items():
            await asker.publish("batch", job_of(job), headers={"Fleet-Job-Id": job})
            await beginning(fleet, node.node)
            (core,) = children(node.pid)
            cores.append(core)
            hurt_at = time.time()
            hurt(core)
            # Work of another shape needs memory of its own.
            more = f"more-{job}"
            await asker.publish(
                "batch", job_of(more, words=60, tokens=4), headers={"Fleet-Job-Id": more}
            )
            released = await event_of(
                fleet.connection, JobReleased, bound_s=60, tenant=unique, job=job
            )
            # To notice it, and to save the job, on a machine that has other things to do.
            assert released.at - hurt_at < noticed_s + LATE_S
            lines = await asker.lines(job, bound_s=240)
            assert len(lines) == ITEMS
            assert {(line.usage or {})["completion_tokens"] for line in lines} == {TOKENS}
            assert {line.fleet.node for line in lines} == {node.node}
            await asker.lines(more, bound_s=120)
        lost = await events_of(fleet.connection, EngineLost)
        assert [event.restarts for event in lost] == [True] * len(HURT)
        assert fleet.pool.running() == [node]
        cores += children(node.pid)
    assert len(set(cores)) == len(HURT) + 1
    assert gone(cores)


def job_of(name: str, *, words: int = 0, tokens: int = TOKENS) -> dict[str, object]:
    body = {"max_tokens": tokens, "temperature": 0, "ignore_eos": True}
    return chunk(
        [
            {
                "custom_id": f"{name}-{n}",
                "url": "/v1/completions",
                "body": {**body, "prompt": f"{name} item {n}" + " word" * words},
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
