"""SIGTERM and SIGINT as notices: how Kubernetes, systemd and people tell a consumer to go."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from fleet.notice import Notice

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def signals(hear: Callable[[Notice], object]) -> Iterator[None]:
    """Turn signals into notices while the body runs; the second of them hastens the drain."""
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        notice = Notice(kind="terminate", source="signal", detail=number.name)
        loop.add_signal_handler(number, hear, notice)
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
            # It ends by itself from here on: a late signal must not make a consumer that handed
            # everything over look killed, with its last events unsent.
            signal.signal(number, signal.SIG_IGN)
