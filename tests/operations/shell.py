"""Runs procedures as an operator does: in a shell, with `fleet` on the path."""

import asyncio
import os
import signal
import sysconfig
import tempfile
from contextlib import suppress

from tests.fleets import ROOT
from tests.integration.cli import Ran
from tests.operations.procedures import script

BOUND_S = 100.0


async def run(section: str, url: str = "", *, mark: str = "tried", **names: str) -> Ran:
    """Run the tried blocks of a section to their end; the first command that fails ends it.

    mark: how the blocks are marked that are to be run. names: what stands for names of the
    operator's, such as NODE. What it started in the background and did not end is killed.
    """
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, **({"NATS_URL": url} if url else {}), **names}
    # Files and no pipes: what goes on in the background would keep those open.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = await asyncio.create_subprocess_exec(
            "bash", "-euo", "pipefail", "-c", script(section, mark),
            stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=err,
            cwd=ROOT, env=environment, start_new_session=True,
        )  # fmt: skip
        try:
            async with asyncio.timeout(BOUND_S):
                code = await process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        for file in (out, err):
            file.seek(0)
        return Ran(code, out.read().decode(), err.read().decode())
