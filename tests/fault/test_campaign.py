"""The campaign: every fault that one machine can bring about, and one checker behind them all."""

import asyncio
import os
import platform
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import SEED
from tests.fault.act import TURNS
from tests.fault.crowds import CROWDS
from tests.fault.play import Played, Scenario, play
from tests.fault.report import report
from tests.fault.scenarios import NODES, POINTS_HURT
from tests.fault.stage import Stage, stage
from tests.fault.surroundings import SURROUNDINGS
from tests.fleets import ROOT

SEEDS = TURNS
SOAK_SEEDS = 20
SCENARIOS = (*POINTS_HURT, *NODES, *CROWDS, *SURROUNDINGS)
# Names of tenants are made of seeds.
FIRST = SEED % 1_000_000


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Stage]]:
    with ExitStack() as stack:
        folders = [tmp_path_factory.mktemp("campaign") for _ in range(SEEDS)]
        yield [stack.enter_context(stage(folder)) for folder in folders]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_no_job_is_lost_doubled_or_answered_wrongly(
    stages: list[Stage], scenario: Scenario, tmp_path: Path
) -> None:
    """With three seeds beside each other, on a stage each: most of the time all of them wait."""
    async with asyncio.TaskGroup() as group:
        playing = [
            group.create_task(play(here, scenario, FIRST + turn, tmp_path, turn=turn))
            for turn, here in enumerate(stages)
        ]
    for played in (task.result() for task in playing):
        assert not played.found.violations, (
            f"history: {played.history.path}; FLEET_SEED={SEED} plays it again\n"
            + "\n".join(played.found.violations[:20])
        )
        assert played.found.items


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
async def test_a_long_campaign(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, say: Callable[[str], None]
) -> None:
    """Writes docs/proof.md. SOAK_SEEDS: how many seeds a fault is played with."""
    seeds = int(os.environ.get("SOAK_SEEDS", SOAK_SEEDS))
    done: list[Played] = []
    with stage(tmp_path_factory.mktemp("campaign")) as here:
        for turn in range(seeds):
            for scenario in SCENARIOS:
                played = await play(here, scenario, FIRST + turn, tmp_path)
                done.append(played)
                found = played.found
                say(
                    f"[{len(done)}/{seeds * len(SCENARIOS)}] {scenario.name} seed {FIRST + turn}: "
                    f"{found.items} items in {played.seconds:.1f} s, {found.interruptions} "
                    f"interruptions, {found.again} tokens again, {len(found.violations)} violations"
                )
    path = ROOT / "docs" / "proof.md"
    path.write_text(report(done, where=_where()))
    bad = [violation for one in done for violation in one.found.violations]
    assert not bad, f"{path} tells all; histories are in {tmp_path}\n" + "\n".join(bad[:20])


def _where() -> str:
    asked = ("git", "rev-parse", "--short", "HEAD")
    said = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    commit = said.stdout.strip() or "unknown"
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, commit {commit}"
