"""The campaign: every fault that one machine can bring about, and one checker behind them all."""

import asyncio
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.conftest import SEED
from tests.fault.act import TURNS
from tests.fault.crowds import CROWDS
from tests.fault.play import Played, Scenario, play
from tests.fault.report import report
from tests.fault.scenarios import HANDOVER, NODES, POINTS_HURT
from tests.fault.stage import Stage, stage
from tests.fault.surroundings import SURROUNDINGS
from tests.fleets import ROOT

SEEDS = TURNS
SOAK_SEEDS, SOAK_STAGES = 20, 4
SCENARIOS = (*POINTS_HURT, *NODES, *CROWDS, *SURROUNDINGS)
# Names of tenants are made of seeds.
FIRST = SEED % 1_000_000


@contextmanager
def several_stages(factory: pytest.TempPathFactory, count: int) -> Iterator[list[Stage]]:
    """Set as many stages; seeds are played beside each other, for most of the time all wait."""
    with ExitStack() as stack:
        folders = [factory.mktemp("campaign") for _ in range(count)]
        yield [stack.enter_context(stage(folder)) for folder in folders]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Stage]]:
    with several_stages(tmp_path_factory, SEEDS) as them:
        yield them


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_no_job_is_lost_doubled_or_answered_wrongly(
    stages: list[Stage], scenario: Scenario, tmp_path: Path
) -> None:
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
    beside_each_other = [scenario for scenario in SCENARIOS if scenario != HANDOVER]

    async def play_all(here: Stage, turns: Sequence[int], scenarios: Sequence[Scenario]) -> None:
        for turn in turns:
            for scenario in scenarios:
                played = await play(here, scenario, FIRST + turn, tmp_path)
                done.append(played)
                say(f"[{len(done)}/{seeds * len(SCENARIOS)}] {_told(played)}")

    with several_stages(tmp_path_factory, SOAK_STAGES) as stages:
        async with asyncio.TaskGroup() as group:
            for number, here in enumerate(stages):
                turns = range(number, seeds, len(stages))
                group.create_task(play_all(here, turns, beside_each_other))
        # Its waits are to be the product's, not those of three more fleets on the same cores.
        await play_all(stages[0], range(seeds), [HANDOVER])
    path = ROOT / "docs" / "proof.md"
    path.write_text(report(sorted(done, key=_place), where=_where()))
    bad = [violation for one in done for violation in one.found.violations]
    assert not bad, f"{path} tells all; histories are in {tmp_path}\n" + "\n".join(bad[:20])


def _place(played: Played) -> tuple[int, int]:
    return SCENARIOS.index(played.scenario), played.seed


def _told(played: Played) -> str:
    found = played.found
    return (
        f"{played.scenario.name} seed {played.seed}: {found.items} items in "
        f"{played.seconds:.1f} s, {found.interruptions} interruptions, {found.again} tokens again, "
        f"{len(found.violations)} violations"
    )


def _where() -> str:
    asked = ("git", "rev-parse", "--short", "HEAD")
    said = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    commit = said.stdout.strip() or "unknown"
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, commit {commit}"
