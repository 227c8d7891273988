"""What happens in a fleet while the demonstration runs: events, and each node's last heartbeat."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeVar

from fleet.broker.connection import Connection
from fleet.broker.eventlog import EventLog
from fleet.broker.nodes import Nodes
from fleet.errors import BrokerUnreachable
from fleet.events import AnyEvent
from fleet.node import Node

E = TypeVar("E", bound=AnyEvent)
POLL_S = 0.2


class Watcher:
    """Follows EVENTS and the heartbeats.

    beats: the last heartbeat of every node that was ever seen, so that the tokens of a node that
    was killed are known up to its last beat.
    """

    def __init__(self, connection: Connection) -> None:
        self._log = EventLog(connection)
        self._nodes = Nodes(connection)
        self._seen = 0
        self._news = asyncio.Event()
        self.events: list[AnyEvent] = []
        self.beats: dict[str, Node] = {}

    async def follow(self) -> None:
        """Watch until cancelled."""
        while True:
            with suppress(BrokerUnreachable):  # the next look makes up for it
                await self.look()
            await asyncio.sleep(POLL_S)

    async def look(self) -> None:
        """Take in what is new."""
        async for recorded in self._log.read(self._seen):
            self._seen = recorded.sequence
            self.events.append(recorded.event)
        self.beats |= {node.node: node for node in await self._nodes.list()}
        self._news.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something is true of what was seen."""
        while not holds():
            self._news.clear()
            await self._news.wait()

    async def first(self, find: Callable[[], Iterator[E]]) -> E:
        """Wait until `find` yields an event; return the first."""
        while True:
            if event := next(find(), None):
                return event
            self._news.clear()
            await self._news.wait()

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]
