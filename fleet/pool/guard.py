"""Belts around any provider: no runaway launch, and no surprise from a list that lags behind.

A cloud's list may not show for a while what was launched a moment ago, and show as alive what was
just ended. Whoever believed it would launch twice. And a program that is wrong about the world must
not be able to spend without end, so launches are capped in every way that they could run away.
"""

import time
from collections.abc import Callable, Collection

import msgspec

from fleet.pool.provider import Fault, Granted, Machine, Provider, Request, Terminated

# By then a list has caught up.
SETTLED_S = 120.0
# For so long a launch that no list ever showed forbids others.
BLIND_S = 3600.0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """per_call, machines: the most in one request, and in the pool at any time."""

    per_call: int = 20
    machines: int = 100


class Guard:
    """A provider that is watched. clock: seconds that never go back."""

    def __init__(
        self,
        provider: Provider,
        limits: Limits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider = provider
        self._limits = limits or Limits()
        self._clock = clock
        self._listed: dict[str, Machine] | None = None
        # What was launched and not listed yet, and what we ended: since when.
        self._unseen: dict[str, tuple[float, Machine]] = {}
        self._ended: dict[str, float] = {}
        # How many machines are being asked for right now.
        self._asked = 0

    async def list(self) -> tuple[Machine, ...] | Fault:
        """List the machines, and those that the provider's own list does not show yet."""
        listed = await self._provider.list()
        if isinstance(listed, Fault):
            return listed
        now = self._clock()
        self._listed = known = {one.id: one for one in listed}
        self._unseen = {
            id_: (since, one)
            for id_, (since, one) in self._unseen.items()
            if id_ not in known and now - since < BLIND_S
        }
        self._ended = {id_: at for id_, at in self._ended.items() if now - at < SETTLED_S}
        young = [one for since, one in self._unseen.values() if now - since < SETTLED_S]
        return tuple(
            msgspec.structs.replace(one, state="stopping")
            if one.alive and one.id in self._ended
            else one
            for one in (*known.values(), *young)
        )

    async def launch(self, request: Request) -> Granted:
        """Launch as many as the limits leave."""
        if request.count < 1:
            return Granted(asked=request.count, faults=(_senseless(request),))
        if self._listed is None and isinstance(unknown := await self.list(), Fault):
            # Whoever does not know what there is cannot know what there may be.
            return Granted(asked=request.count, faults=(unknown,))
        known = self._listed or {}
        allowed, fault = self._allowed(request, known)
        if allowed < 1:
            return Granted(asked=request.count, faults=(fault,) if fault else ())
        self._asked += allowed
        granted = None
        try:
            granted = await self._provider.launch(msgspec.structs.replace(request, count=allowed))
        finally:
            self._asked -= allowed
            if granted is None or any(one.kind == "unreachable" for one in granted.faults):
                # It may have been done all the same: look before anything else is launched.
                self._listed = None
        now = self._clock()
        for one in granted.machines:
            if one.id not in known:
                self._unseen.setdefault(one.id, (now, one))
        faults = (*granted.faults, fault) if fault else granted.faults
        return Granted(asked=request.count, machines=granted.machines, faults=faults)

    async def terminate(self, ids: Collection[str]) -> Terminated:
        """End machines, and remember that they end."""
        done = await self._provider.terminate(ids)
        now = self._clock()
        for id_ in done.ids:
            self._ended[id_] = now
            self._unseen.pop(id_, None)
        return done

    def _allowed(self, request: Request, known: dict[str, Machine]) -> tuple[int, Fault | None]:
        """Say how many machines may be launched, and why it is fewer than were asked for."""
        lost = [
            id_ for id_, (since, _) in self._unseen.items() if self._clock() - since >= SETTLED_S
        ]
        if lost:
            return 0, _capped(
                request,
                f"{len(lost)} machines were launched and never listed ({lost[0]} and others): look "
                "for them by hand, and check that launches are tagged and lists are permitted",
            )
        alive = sum(one.alive for one in known.values() if one.id not in self._ended)
        room = self._limits.machines - alive - len(self._unseen) - self._asked
        if room < min(request.count, self._limits.per_call):
            return max(0, room), _capped(
                request, f"the pool may have {self._limits.machines} machines: raise the limit"
            )
        if request.count > self._limits.per_call:
            return self._limits.per_call, _capped(
                request, f"one request may be for {self._limits.per_call}: ask for the rest later"
            )
        return request.count, None


def _capped(request: Request, why: str) -> Fault:
    return Fault(
        kind="capped",
        zone=request.zone,
        text=f"launch {request.id} of {request.count} {request.capacity_type} in {request.zone} "
        f"was cut: {why}",
    )


def _senseless(request: Request) -> Fault:
    return Fault(
        kind="refused",
        zone=request.zone,
        text=f"launch {request.id} asks for {request.count} machines: ask for one or more",
    )
