"""No engine outlives its consumer."""

import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from consumers.setup.models import cache_dir, ensure_model
from tests.tools import missing

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(300)]
# Starts an engine, says the pid of its core, and waits to be killed.
HOLDER = """
import asyncio, multiprocessing, sys
from consumers.engine_settings import VllmSettings
from consumers.vllm_engine import start

async def main():
    async with start(VllmSettings(model_path=sys.argv[1], served_model="m")):
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_parent_that_is_killed_leaves_no_core_behind() -> None:
    if find_spec("vllm") is None:
        missing("vLLM is not installed: run `just setup`")
    path = ensure_model("tiny", cache_dir())
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        cores = [int(pid) for pid in holder.stdout.readline().split()]
        holder.kill()
    assert cores
    assert gone(cores), f"{cores} are still there"


def gone(pids: list[int], wait_s: float = 10.0) -> bool:
    """Wait until none of the processes is there, a zombie counting as gone."""
    until = time.monotonic() + wait_s
    while any(alive(pid) for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
