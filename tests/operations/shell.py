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

BOUND_S = 200.0


async def run(*sections: str, url: str = "", **names: str) -> Ran:
    """Run the tried blocks of sections in one shell; the first command that fails ends it.

    sections: `NAME`, or `NAME: MARK` for blocks with another mark. names: what stands for names of
    the operator's, such as NODE. What it started in the background and did not end is killed.
    """
    marked = (section.partition(": ") for section in sections)
    code = "".join(script(name, mark or "tried") for name, _, mark in marked)
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, **({"NATS_URL": url} if url else {}), **names}
    # Files and no pipes: what goes on in the background would keep those open.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = await asyncio.create_subprocess_exec(
            "bash", "-euo", "pipefail", "-c", code,
            stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=err,
            cwd=ROOT, env=environment, start_new_session=True,
        )  # fmt: skip
        try:
            async with asyncio.timeout(BOUND_S):
                ended = await process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        for file in (out, err):
            file.seek(0)
        return Ran(ended, out.read().decode(), err.read().decode())
