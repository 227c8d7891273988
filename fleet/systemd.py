"""What systemd is told: ready, alive, leaving. One datagram a word, by its notify protocol.

Nothing is said where nobody listens, which is everywhere but in a unit of `Type=notify`.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping
from typing import Final

from fleet.events import AnyEvent, EngineLost, NodeDraining, NodeReady, NodeResumed, NodeStopped

# A start goes on for as long as its loop turns: each word of it asks for so much more.
STARTING_S: Final = 120.0
# Words a watchdog's time, so that one that comes late does no harm; and without a watchdog.
SHARE: Final = 4
EVERY_S: Final = 10.0

log = logging.getLogger(__name__)


class Unit:
    """The unit that this process is the main one of, if it is.

    address: of systemd's socket; one that begins with `@` is abstract. watchdog_s: after how long
    without a word systemd ends this process; None without a watchdog. every_s: a word is due then.
    """

    def __init__(self, address: str | None, *, watchdog_s: float | None = None) -> None:
        self._address = address
        self.every_s = EVERY_S if watchdog_s is None else watchdog_s / SHARE
        self._ready = False

    @classmethod
    def of(cls, env: Mapping[str, str]) -> "Unit":
        """Read what systemd gave this process; children inherit it, and are not meant."""
        told = env.get("WATCHDOG_USEC", "")
        mine = env.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog_s = int(told) / 1e6 if told.isdecimal() and mine else None
        return cls(env.get("NOTIFY_SOCKET"), watchdog_s=watchdog_s or None)

    def ready(self, status: str) -> None:
        """Say that the start is over. status: for people."""
        self._ready = True
        self._tell("READY=1", f"STATUS={status}")

    def alive(self) -> None:
        """Feed the watchdog, or ask for more time while starting."""
        self._tell("WATCHDOG=1" if self._ready else f"EXTEND_TIMEOUT_USEC={STARTING_S * 1e6:.0f}")

    def hear(self, event: AnyEvent) -> None:
        """Sink: tell what a consumer has become."""
        match event:
            case NodeReady():
                self.ready("working")
            case NodeDraining():
                self._tell(f"STATUS=draining: {event.cause}")
            case NodeResumed():
                self._tell("STATUS=working")
            case EngineLost():
                self._tell("STATUS=the engine is gone")
            case NodeStopped():
                self._tell("STOPPING=1", "STATUS=drained")
            case _:
                pass

    async def watch(self, ill: Callable[[], str | None]) -> None:
        """Say that this process is alive for as long as its loop turns and nothing is `ill`."""
        while self._address is not None:
            if ill() is None:
                self.alive()
            await asyncio.sleep(self.every_s)

    def _tell(self, *words: str) -> None:
        if self._address is None:
            return
        text = "\n".join(word.replace("\n", " ") for word in words)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
                # systemd that does not read must not hold us up: then this word is lost.
                line.setblocking(False)
                line.sendto(text.encode(), _path(self._address))
        except OSError as error:
            log.warning("systemd was not told", extra={"words": text, "error": str(error)})


def _path(address: str) -> str:
    return f"\0{address[1:]}" if address.startswith("@") else address
