"""The event loop that our processes run on."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


def run(main: Coroutine[object, object, T]) -> T:
    """Run `main` to its end, on uvloop where it is installed."""
    try:
        from uvloop import new_event_loop  # noqa: PLC0415 - absent on Windows
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)
