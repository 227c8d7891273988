import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import leftovers
from tests.leftovers import MARK, end_all

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")


def test_an_orphan_is_found_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "GRACE_S", 0.0)
    # The child of a child that ends at once: nobody's child by then.
    script = (
        "import subprocess, sys; print(subprocess.Popen(['sleep', '60'],"
        " stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,"
        " start_new_session=True).pid)"
    )
    parent = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {MARK: "orphan"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [process.pid for process in end_all("orphan")] == [int(parent.stdout)]


def test_a_session_that_cleaned_up_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "GRACE_S", 0.0)
    subprocess.run(["sleep", "0"], env=os.environ | {MARK: "clean"}, check=True)
    assert end_all("clean") == []
