"""The command line as its users have it: a process with two streams and an exit code."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

BOUND_S = 120.0
ROOT = Path(__file__).parents[2]
START = (sys.executable, "-c", "from fleet.cli.main import main; main()")


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


async def start(
    url: str, *args: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    """Start `fleet` with both streams piped. env: more variables."""
    own = {"FLEET_NATS": url, "PYTHONPATH": os.pathsep.join(_paths())}
    environment = {**os.environ, **own, **(env or {})}
    return await asyncio.create_subprocess_exec(
        *START, *args, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env=environment, cwd=cwd,
    )  # fmt: skip


async def end(process: asyncio.subprocess.Process, stdin: bytes = b"") -> Ran:
    """Wait until a command has ended, however."""
    try:
        async with asyncio.timeout(BOUND_S):
            out, err = await process.communicate(stdin)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


async def fleet(
    url: str,
    *args: str,
    stdin: bytes = b"",
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
) -> Ran:
    """Run `fleet` to its end."""
    return await end(await start(url, *args, cwd=cwd, env=env), stdin)


def _paths() -> list[str]:
    given = os.environ.get("PYTHONPATH")
    return [str(ROOT), *([given] if given else [])]
