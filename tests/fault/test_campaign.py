"""The campaign: every fault that one machine can bring about, and one checker behind them all."""

import os
import platform
import subprocess
from collections.abc import Callable, Iterator
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
def shared_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("campaign")) as it:
        yield it


@pytest.mark.parametrize("turn", range(SEEDS))
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_no_job_is_lost_doubled_or_answered_wrongly(
    shared_stage: Stage, scenario: Scenario, turn: int, tmp_path: Path
) -> None:
    played = await play(shared_stage, scenario, FIRST + turn, tmp_path, turn=turn)
    assert not played.found.violations, (
        f"history: {played.history.path}; FLEET_SEED={SEED} plays it again\n"
        + "\n".join(played.found.violations[:20])
    )
    assert played.found.items


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
async def test_a_long_campaign(
    shared_stage: Stage, tmp_path: Path, say: Callable[[str], None]
) -> None:
    """Writes docs/proof.md. SOAK_SEEDS: how many seeds a fault is played with."""
    seeds = int(os.environ.get("SOAK_SEEDS", SOAK_SEEDS))
    done: list[Played] = []
    for turn in range(seeds):
        for scenario in SCENARIOS:
            played = await play(shared_stage, scenario, FIRST + turn, tmp_path)
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
