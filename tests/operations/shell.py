"""Runs procedures as an operator does: in a shell, with `fleet` on the path."""

import asyncio
import os
import signal
import sysconfig
from pathlib import Path

from tests.fleets import ROOT
from tests.integration.cli import Ran
from tests.operations.procedures import script

BOUND_S = 90.0


async def run(section: str, url: str, *, folder: Path = ROOT, **names: str) -> Ran:
    """Run the tried blocks of a section to their end; the first command that fails ends it.

    names: what stands for names of the operator's, such as NODE.
    """
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    process = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", script(section),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, cwd=folder, start_new_session=True,
        env={**os.environ, "PATH": path, "NATS_URL": url, **names},
    )  # fmt: skip
    try:
        async with asyncio.timeout(BOUND_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())
