"""Three machines as network namespaces: one is cut off, and no confirmed job is missing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fleet.children import die_with_parent
from tests.fleets import ROOT
from tests.tools import requires_tool

NAMESPACES = Path(__file__).with_name("namespaces.sh")
BOUND_S = 220.0


def test_the_leader_is_cut_off_and_no_confirmed_job_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requires_tool("ip")
    alone = [requires_tool("unshare"), "--user", "--map-root-user", "--net", "--mount"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        # What the kernel does not allow nobody can install.
        pytest.skip("a cut-off needs network namespaces, which this machine does not let us make")
    inside = [sys.executable, "-m", "tests.integration.cluster.cut_off", str(tmp_path)]
    played = subprocess.run(
        [*alone, str(NAMESPACES), *inside],
        capture_output=True, text=True, timeout=BOUND_S, check=False, cwd=ROOT,
        preexec_fn=die_with_parent,
    )  # fmt: skip
    assert played.returncode == 0, played.stderr
    came = json.loads(played.stdout)
    assert came["missing"] == []
    assert came["confirmed"] == 101
    assert came["leader_after"] != came["lost_server"]
    with capsys.disabled():
        sys.stdout.write(f"\ncut off: {came['gap_s']} s without a receipt, 0 of 101 lost\n")
