"""The queue of a simulation: batches in the order of arrival, as a fluid that nodes take from."""

import heapq
import math
from collections import deque
from dataclasses import dataclass

from fleet.pool.simulate.arrivals import Arrival
from fleet.pool.snapshot import Work

# Less than this of a node-second is a rounding error, and done.
HAIR_S = 1e-6


@dataclass(slots=True)
class Open:
    """A batch. left_s: node-seconds. begun_at, ended_at: None before that. missed: expired."""

    arrival: Arrival
    left_s: float
    begun_at: float | None = None
    ended_at: float | None = None
    missed: bool = False


class Queue:
    """What waits. What has not been done by its deadline expires, and is worked on no more."""

    def __init__(self, arrivals: tuple[Arrival, ...], *, item_s: float) -> None:
        self.all = [Open(arrival, arrival.work_s) for arrival in arrivals]
        self._item_s = item_s
        self._next = 0
        self._waiting: deque[Open] = deque()
        self._deadlines: list[tuple[float, int]] = []
        self.expired_s = 0.0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def next_event(self) -> float:
        """Return when the next batch comes or expires; infinity for never."""
        comes = self.all[self._next].arrival.at if self._next < len(self.all) else math.inf
        while self._deadlines and self.all[self._deadlines[0][1]].ended_at is not None:
            heapq.heappop(self._deadlines)
        return min(comes, self._deadlines[0][0] if self._deadlines else math.inf)

    def move_to(self, now: float) -> bool:
        """Let batches come and expire; return whether any came."""
        came = False
        while self._next < len(self.all) and self.all[self._next].arrival.at <= now:
            batch = self.all[self._next]
            self._waiting.append(batch)
            heapq.heappush(self._deadlines, (batch.arrival.deadline, self._next))
            self._next += 1
            came = True
        while self._deadlines and self._deadlines[0][0] <= now:
            batch = self.all[heapq.heappop(self._deadlines)[1]]
            if batch.ended_at is None:
                batch.ended_at, batch.missed = now, True
                self.expired_s += batch.left_s
                self._waiting.remove(batch)
        return came

    def serve(self, begin: float, end: float, nodes: int) -> float:
        """Let nodes work from `begin` to `end`; return for how long there was work."""
        now = begin
        while self._waiting and nodes and now < end:
            head = self._waiting[0]
            if head.begun_at is None:
                head.begun_at = now
            done_at = now + head.left_s / nodes
            if done_at <= end or head.left_s - nodes * (end - now) < HAIR_S:
                now = min(done_at, end)
                head.left_s, head.ended_at = 0.0, now
                self._waiting.popleft()
            else:
                head.left_s -= nodes * (end - now)
                now = end
        return now - begin

    def undo(self, node_s: float) -> float:
        """Lose work of the batch in hand; return how much there was to lose."""
        if not self._waiting:
            return 0.0
        head = self._waiting[0]
        lost = min(node_s, head.arrival.work_s - head.left_s)
        head.left_s += lost
        return lost

    def work(self) -> tuple[Work, ...]:
        """Show what is left to a policy."""
        return tuple(
            Work(
                name=batch.arrival.name,
                items=math.ceil(batch.left_s / self._item_s),
                deadline=batch.arrival.deadline,
                item_s=self._item_s,
                submitted_at=batch.arrival.at,
            )
            for batch in self._waiting
        )

    @property
    def left_s(self) -> float:
        """Return the node-seconds that wait."""
        return sum(batch.left_s for batch in self._waiting)
