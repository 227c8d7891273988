"""Being interrupted on purpose, in a drill: dying, or standing still for a while."""

import asyncio
import os
import signal

from fleet.control import HurtOrder

# Who stands still cannot wake itself: another process does it.
_STAND_STILL = 'kill -STOP "$1"; sleep "$2"; kill -CONT "$1"'


async def be_hurt(order: HurtOrder) -> None:
    """Do to this process what a drill wants."""
    await hurt(os.getpid(), order)


async def hurt(pid: int, order: HurtOrder) -> None:
    """Kill a process without a word, or stop it and wake it after a while."""
    if order.how == "kill":
        os.kill(pid, signal.SIGKILL)
        return
    waker = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", _STAND_STILL, "sh", str(pid), f"{order.for_s:g}",
        stdin=asyncio.subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    await waker.wait()
