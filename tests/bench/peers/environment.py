"""A virtual environment of their own for the other task queues, made once and kept in the cache."""

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

from consumers.setup.models import cache_dir

REQUIREMENTS = ("taskiq==0.13.0", "taskiq-nats==0.7.0", "faststream[nats]==0.7.8", "uvloop")
PATIENCE_S = 300.0


class NotInstalled(Exception):
    """The other task queues cannot be had here."""


async def peers_python() -> Path:
    """Return the Python of that environment, made if it is missing. Raises NotInstalled."""
    folder = cache_dir() / "bench-peers"
    python, stamp = folder / "bin" / "python", folder / "requirements.txt"
    wanted = "\n".join(REQUIREMENTS)
    if not (stamp.is_file() and stamp.read_text() == wanted):
        await _run(sys.executable, "-m", "venv", "--clear", str(folder))
        await _run(str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS)
        stamp.write_text(wanted)
    return python


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)
    try:
        async with asyncio.timeout(PATIENCE_S):
            told, _ = await process.communicate()
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise NotInstalled(f"{command[:4]} took over {PATIENCE_S:.0f} s") from error
    if process.returncode:
        raise NotInstalled(told.decode(errors="replace").strip()[-500:])
