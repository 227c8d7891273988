"""Finds machines that are paid for and do nothing. Pure.

Whoever launched one may have died before anybody knew of it, its consumer may never have come up,
it hangs, or it was stopped and its disk is paid for. One rule fits all: a machine that no heartbeat
was heard of for too long is ended. Silence counts only while heartbeats can be read, and only by
clocks that do not jump.
"""

from collections.abc import Collection

import msgspec

from fleet.pool.provider import Machine


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """start_s: how long a machine may take to its first heartbeat, or for its way out.

    silent_s: between two heartbeats. step_s: the most that one look counts, so that a manager that
    slept does not wake up and reap. most: how many are ended in one look.
    """

    start_s: float = 1800.0
    silent_s: float = 300.0
    step_s: float = 60.0
    most: int = 5


class Leak(msgspec.Struct, frozen=True, kw_only=True):
    """A machine to be ended, and why: the text says for how long it has been silent."""

    id: str
    text: str


class Reaper:
    """Remembers how long each machine has been silent; nothing that a restart could hurt."""

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._silent: dict[str, float] = {}
        self._heard: set[str] = set()
        self._looked_at: float | None = None

    def look(
        self, machines: Collection[Machine], heard: Collection[str] | None, now: float
    ) -> tuple[Leak, ...]:
        """Return the machines that are to be ended.

        heard: ids of those whose heartbeat is there; None when heartbeats could not be read. now:
        seconds that never go back.
        """
        since = 0.0 if self._looked_at is None else max(0.0, now - self._looked_at)
        self._looked_at = now
        there = {one.id: one for one in machines if one.state != "ended"}
        self._heard &= there.keys()
        if heard is None:
            return ()
        step = min(since, self._patience.step_s)
        now_heard = there.keys() & heard
        self._heard |= now_heard
        self._silent = {
            id_: 0.0 if id_ in now_heard else self._silent.get(id_, 0.0) + step for id_ in there
        }
        # When all fall silent, that is hardly the machines.
        all_silent = len(self._heard) > 1 and all(self._silent[one] > 0 for one in self._heard)
        worked = frozenset() if all_silent else self._heard
        start_s, silent_s = self._patience.start_s, self._patience.silent_s
        lost = [
            one
            for id_, one in there.items()
            if self._silent[id_] > (silent_s if one.alive and id_ in worked else start_s)
        ][: self._patience.most]
        leaks = tuple(Leak(id=one.id, text=self._words(one)) for one in lost)
        for one in lost:
            if not one.alive:
                # It is listed as on its way out, also when it has been told to go once more.
                self._silent[one.id] = 0.0
        return leaks

    def _words(self, one: Machine) -> str:
        what = "has been silent" if one.id in self._heard else "has never been heard of,"
        return (
            f"{one.id} ({one.capacity_type} {one.instance_type} in {one.zone}, launch "
            f"{one.launch or 'unknown'}) {what} for {self._silent[one.id]:.0f} s: it is ended; "
            "look into its consumer's log"
        )
