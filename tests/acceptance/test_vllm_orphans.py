"""No engine outlives its consumer."""

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from consumers.setup.models import cache_dir, ensure_model
from tests.tools import missing

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(300)]
# Starts an engine, says so, and waits to be killed.
HOLDER = """
import asyncio, sys
from consumers.engine_settings import VllmSettings
from consumers.vllm_engine import start

async def main():
    settings = VllmSettings(
        model_path=sys.argv[1], served_model="m", tensor_parallel_size=int(sys.argv[2])
    )
    async with start(settings):
        print("up", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("workers", "processes"), [(1, 1), (2, 3)], ids=["alone", "tensor parallel"]
)
def test_a_parent_that_is_killed_leaves_no_process_behind(workers: int, processes: int) -> None:
    if find_spec("vllm") is None:
        missing("vLLM is not installed: run `just setup`")
    path = ensure_model("tiny", cache_dir())
    command = [sys.executable, "-c", HOLDER, str(path), str(workers)]
    # One core for each worker; vLLM wants a NUMA node for each where it chooses by itself.
    env = {**os.environ, "VLLM_CPU_OMP_THREADS_BIND": "|".join(map(str, range(workers)))}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as holder:
        assert holder.stdout
        assert holder.stdout.readline()
        engine = [pid for pid in descendants(holder.pid) if "VLLM" in title(pid)]
        holder.kill()
    assert len(engine) == processes
    assert gone(engine), f"{engine} are still there"


def descendants(pid: int) -> list[int]:
    """Find all children, and theirs."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for file in found for child in file.read_text().split()]
    return [*children, *(one for child in children for one in descendants(child))]


def title(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")


def gone(pids: list[int], wait_s: float = 30.0) -> bool:
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
