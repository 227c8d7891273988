"""Keep the ack wait of what we hold alive, from a thread of its own.

A blocked event loop must not lose the lease, and a hung engine must not keep it: the thread goes on
extending while the engine shows life, whatever the loop of the consumer does.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from types import TracebackType
from typing import Self

from fleet.broker.connection import Connection
from fleet.broker.queue import Delivery
from fleet.errors import FleetError

log = logging.getLogger(__name__)
EXTEND = b"+WPI"
Connect = Callable[[], AbstractAsyncContextManager[Connection]]


class Lease:
    """What we hold a job by: the newest delivery of its message."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery


class LeaseKeeper:
    """Extends every held lease each `interval_s`, over a connection of its own.

    fit: whether this process is fit to work; while it is not, nothing is extended, and the jobs go
    to other consumers when their ack wait ends.
    """

    def __init__(self, connect: Connect, *, interval_s: float, fit: Callable[[], bool]) -> None:
        self._connect = connect
        self._interval_s = interval_s
        self._fit = fit
        self._held: set[Lease] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._main, name="lease", daemon=True)

    async def __aenter__(self) -> Self:
        self._thread.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        # Not here: closing a connection takes seconds where no broker answers, and the loop has
        # heartbeats to send.
        await asyncio.to_thread(self._thread.join, self._interval_s + 5)

    @contextmanager
    def hold(self, lease: Lease) -> Iterator[None]:
        """Keep a lease for as long as the body runs."""
        with self._lock:
            self._held.add(lease)
        try:
            yield
        finally:
            with self._lock:
                self._held.discard(lease)

    def _main(self) -> None:
        while not self._stop.is_set():
            try:
                asyncio.run(self._extend_for_ever())
            except* (FleetError, OSError) as errors:
                log.warning("lease thread lost its connection", extra={"error": str(errors)})
                self._stop.wait(1.0)

    async def _extend_for_ever(self) -> None:
        async with self._connect() as connection:
            while not self._stop.is_set():
                if self._fit():
                    with self._lock:
                        deliveries = [lease.delivery for lease in self._held]
                    for delivery in deliveries:
                        # Not its own `extend`: that would use the connection of another loop.
                        await connection.publish(delivery.reply, EXTEND)
                await asyncio.to_thread(self._stop.wait, self._interval_s)
