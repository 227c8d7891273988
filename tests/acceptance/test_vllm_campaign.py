"""A small campaign on real vLLM: killed, told to go and frozen, in an order that the seed gives."""

import asyncio
import os
import random
import signal
from collections.abc import Callable
from importlib.util import find_spec

import pytest

from consumers.setup.models import cache_dir, ensure_model
from fleet.evidence import verify
from fleet.pool.fleet_plan import FleetPlan
from fleet.pool.fleet_up import Fleet, fleet_up
from tests.acceptance.test_vllm_fleet import TENANT, holder, lines_of, submit, told
from tests.tools import missing

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("vllm") is None:
        missing("vLLM is not installed: run `just setup`")
    for name, value in {"ACK_WAIT_S": "5", "BEAT_TTL_S": "3", "CHECKPOINT_S": "1"}.items():
        monkeypatch.setenv(f"FLEET_{name}", value)


def kill(fleet: Fleet, node: str) -> None:
    fleet.pool.kill(node)


def notice(fleet: Fleet, node: str) -> None:
    fleet.pool.notice(node)


def freeze(fleet: Fleet, node: str) -> None:
    os.kill(fleet.pool.nodes[node].pid, signal.SIGSTOP)


HARMS: tuple[Callable[[Fleet, str], None], ...] = (kill, notice, freeze)


async def test_whatever_is_done_to_consumers_the_answers_are_those_of_a_calm_day(
    seeded: random.Random,
) -> None:
    ensure_model("smollm2", cache_dir())
    plan = FleetPlan(
        model="smollm2", engine="vllm", on_demand=0, spot=2, replace="all",
        arguments=("--slots", "12"),
    )  # fmt: skip
    async with asyncio.timeout(580), fleet_up(plan) as fleet:
        calm = told(await lines_of(fleet, await submit(fleet, "calm")))
        for harm in seeded.sample(HARMS, len(HARMS)):
            manifest = await submit(fleet, harm.__name__)
            node = await holder(fleet, manifest)
            harm(fleet, node)
            lines = await lines_of(fleet, manifest)
            if harm is freeze:
                os.kill(fleet.pool.nodes[node].pid, signal.SIGCONT)
            assert told(lines) == calm, harm.__name__
            proof = await verify(fleet.connection, tenant=TENANT, batch=manifest.id)
            assert proof.verdict == "proven", (harm.__name__, proof.flaws)
            assert proof.take_overs, harm.__name__
