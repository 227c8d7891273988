"""The processes that an engine starts: which they are, and how to end them for good."""

import asyncio
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import Future
from multiprocessing.process import BaseProcess
from typing import Any


def new_children(before: Sequence[BaseProcess]) -> list[BaseProcess]:
    """Return the children of this process that were not there before."""
    return [child for child in multiprocessing.active_children() if child not in before]


def kill(children: Sequence[BaseProcess]) -> None:
    """End processes without asking them; a dead one does not mind."""
    for child in children:
        if child.is_alive():
            child.kill()
            child.join(1.0)


async def kill_until_done(start: "Future[Any]", before: Sequence[BaseProcess]) -> None:
    """End a start that nobody waits for any more: it fails as soon as its child is killed.

    start: what runs in a thread and cannot be stopped itself; it may not have a child yet.
    """
    while not start.done():
        kill(new_children(before))
        await asyncio.sleep(0.1)
