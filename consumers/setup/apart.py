"""A model that is made in a process of its own, for a consumer that may have to go meanwhile."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from pathlib import Path
from typing import Final

from consumers.setup.models import find_model
from fleet.children import die_with_parent
from fleet.errors import UsageError

# How long it may take to clean up behind itself.
END_S: Final = 2.0


async def model_dir(name: str, cache: Path) -> Path:
    """Return the directory of a model, making it first where it is missing or damaged.

    A download ends with who waits for it. In a thread it could not: a process waits for its
    threads. Raises UsageError.
    """
    if (found := find_model(name, cache)) is not None:
        return found
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "consumers.setup", "--no-engine", "--model", name,
        stdin=DEVNULL, stdout=DEVNULL, env={**os.environ, "FLEET_CACHE": str(cache)},
        # The terminal's Ctrl-C is for us; we end it ourselves.
        start_new_session=True, preexec_fn=die_with_parent,
    )  # fmt: skip
    try:
        await process.wait()
    finally:
        if process.returncode is None:
            await _end(process)
    if (made := find_model(name, cache)) is None:
        raise UsageError(
            f"the model {name} could not be made: its output above says why; `fleet setup --model "
            f"{name}` makes it beforehand, --model-path names one of your own"
        )
    return made


async def _end(process: Process) -> None:
    process.send_signal(signal.SIGINT)
    try:
        async with asyncio.timeout(END_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
