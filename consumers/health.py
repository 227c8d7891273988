"""Is this process fit to work: asked by its leases, by its crew, and by probes from outside.

`/livez` and `/readyz` answer from a thread, so they tell the truth also when the event loop hangs.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final, Never

from fleet.listening import Pages, listening, verdict
from fleet.node import NodeState

TICK_S: Final = 0.5
# A tick that comes so late means that the loop was blocked.
BLOCK_S: Final = 2.0
REMEDY: Final = "set FLEET_HEALTH_PORT to a free port, or leave it out"


class Pulse:
    """What tells whether this process is alive and fit to work. Written by the event loop.

    alive_s: how long the engine may be silent; blocked_s: how long the event loop may be. A blocked
    loop hears nothing of its engine, so that time counts for the loop alone. connected, state:
    asked at every probe. engine_alive_at: when the engine last showed life, by time.monotonic();
    None while there is no engine, which is no illness: loading takes minutes.
    """

    def __init__(
        self,
        *,
        alive_s: float,
        blocked_s: float,
        connected: Callable[[], bool],
        state: Callable[[], NodeState],
    ) -> None:
        self._alive_s = alive_s
        self._blocked_s = blocked_s
        self._connected = connected
        self._state = state
        self._ticked_at = time.monotonic()
        self._turned_at = float("-inf")
        self.engine_alive_at: Callable[[], float] | None = None

    async def tick_for_ever(self) -> Never:
        """Show that the event loop turns."""
        while True:
            now = time.monotonic()
            if now - self._ticked_at > BLOCK_S:
                self._turned_at = now
            self._ticked_at = now
            await asyncio.sleep(TICK_S)

    @property
    def engine_silent_s(self) -> float:
        """For how long the engine was silent while somebody listened; infinite if it is dead."""
        if self.engine_alive_at is None:
            return 0.0
        if (alive_at := self.engine_alive_at()) == -math.inf:
            return math.inf
        return max(0.0, self._ticked_at - max(alive_at, self._turned_at))

    def ill(self) -> str | None:
        """Say why this process should hold no job and be ended; None if it should not."""
        if (blocked_s := time.monotonic() - self._ticked_at) > self._blocked_s:
            return f"the event loop has been blocked for {blocked_s:.0f} s"
        if (silent_s := self.engine_silent_s) == math.inf:
            return "the engine is gone"
        if silent_s > self._alive_s:
            return f"the engine has given no sign of life for {silent_s:.0f} s"
        return None

    def unready(self) -> str | None:
        """Say why no work comes in; None if it does."""
        if (illness := self.ill()) is not None:
            return illness
        if (blocked_s := time.monotonic() - self._ticked_at) > BLOCK_S:
            return f"the event loop has been blocked for {blocked_s:.0f} s"
        if (state := self._state()) != "ready":
            return f"the consumer is {state}"
        return None if self._connected() else "there is no connection to the broker"


@contextmanager
def served(
    pulse: Pulse, *, host: str, port: int | None, pages: Pages = MappingProxyType({})
) -> Iterator[int | None]:
    """Answer probes while the body runs; yields the port. port: 0 takes a free one, None is off.

    pages: what else is told there. Raises UsageError when the address cannot be had.
    """
    if port is None:
        yield None
        return
    probes = {
        "/livez": lambda: verdict(pulse.ill()),
        "/readyz": lambda: verdict(pulse.unready()),
    }
    with listening({**probes, **pages}, host=host, port=port, remedy=REMEDY) as bound:
        yield bound
