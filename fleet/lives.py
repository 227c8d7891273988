"""Whose machine cost money from when to when: events of a fleet, sorted into the lives of nodes."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from fleet.events import (
    AnyEvent,
    Billed,
    EngineLost,
    NodeDraining,
    NodeGone,
    NodeLaunched,
    NodeMetered,
    NodeReady,
    NodeResumed,
    NodeStarted,
    NodeStopped,
    UsageRecorded,
)
from fleet.job import CapacityType

# What the ledger is made of. Other events are about jobs, or said by whom nobody pays for.
Told: TypeAlias = (
    NodeLaunched | NodeStarted | NodeMetered | NodeReady | NodeDraining | NodeResumed | EngineLost
    | NodeStopped | NodeGone | UsageRecorded
)  # fmt: skip
# An event is written as soon as it happens, but for an outage that it waits out. A clock that says
# something else is wrong, and the server's counts.
EARLY_S: Final = 5.0
LATE_S: Final = 1800.0
# A machine that cost money for longer before its node said a word is one whose clock was wrong.
SILENT_START_S: Final = 2 * 3600.0


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """One node from the moment at which it began to cost money to that at which it ended.

    start, end: seconds since the epoch, start <= end. how: "alive"; what a drained node named as
    its cause; what was seen by who watches over it; "vanished" for one that was silent all of a
    sudden, which ends with its last sign of life. events: all of it, in order.
    """

    node: str
    capacity_type: CapacityType
    zone: str
    model: str
    instance_type: str
    price_usd_per_hour: float | None
    start: float
    end: float
    how: str
    events: tuple[Told, ...]

    @property
    def is_alive(self) -> bool:
        """Whether more of it is to come."""
        return self.how == "alive"


def believed(event: AnyEvent, written_at: float) -> AnyEvent:
    """Return the event at a time that can be: the server's, where the node's clock is far off."""
    if written_at - LATE_S <= event.at <= written_at + EARLY_S:
        return event
    return msgspec.structs.replace(event, at=written_at)


def lives(
    events: Iterable[AnyEvent],
    beats: Mapping[str, float] | None = None,
    *,
    now: float | None = None,
) -> list[Life]:
    """Sort events, which may come in any order, into lives, in the order of their starts.

    beats: when the nodes that are alive now gave their last sign, by name. now: until when machines
    cost money of which nobody heard a word yet. A node without a word about what it is, is left
    out: nobody knows what it costs.
    """
    by_node: dict[str, list[Told]] = {}
    launches: list[NodeLaunched] = []
    for event in events:
        if isinstance(event, NodeLaunched):
            launches.append(event)
        elif isinstance(event, Told):
            by_node.setdefault(event.node, []).append(event)
    found: list[Life] = []
    for node, told in by_node.items():
        told.sort(key=lambda event: event.at)
        parts = list(_parts(told))
        for number, part in enumerate(parts, 1):
            beat = (beats or {}).get(node) if number == len(parts) else None
            if (life := _life(part, beat)) is not None:
                found.append(life)
    found = _one_by_one(sorted(found, key=lambda life: (life.events[0].at, life.node)))
    places = _places(found)
    _end_by_machine(found, places, by_node)
    # A manager that starts anew tells of the same launches once more.
    once = {(launch.node, _since(launch)): launch for launch in launches}
    silent = _launched(found, places, sorted(once.values(), key=_since), by_node, now)
    return sorted([*found, *silent], key=lambda life: (life.start, life.node))


def _parts(told: Sequence[Told]) -> Iterator[tuple[Told, ...]]:
    """Cut where another life begins: a name may come back."""
    since: float | None = None
    begun = 0
    for number, event in enumerate(told):
        if not isinstance(event, Billed):
            continue
        is_other = since is not None and event.since != since
        if number > begun and (is_other or isinstance(event, NodeStarted)):
            yield tuple(told[begun:number])
            begun = number
        since = event.since
    if told:
        yield tuple(told[begun:])


def _life(told: tuple[Told, ...], beat: float | None) -> Life | None:
    about = next((event for event in told if isinstance(event, Billed)), None)
    if about is None:
        return None
    first = told[0].at
    since = first if about.since is None else about.since
    return Life(
        node=about.node,
        capacity_type=about.capacity_type,
        zone=about.zone,
        model=about.model,
        instance_type=about.instance_type,
        price_usd_per_hour=about.price_usd_per_hour,
        start=min(first, since) if since >= first - SILENT_START_S else first,
        end=_end(told) if beat is None else max(_end(told), beat),
        how=_how(told, is_alive=beat is not None),
        events=told,
    )


def _end(told: Sequence[Told]) -> float:
    """Find the last sign of life; of those who saw its end, the first is right."""
    gone = min((event.at for event in told if isinstance(event, NodeGone)), default=-math.inf)
    return max(gone, *(e.at for e in told if not isinstance(e, NodeGone)))


def _how(told: Sequence[Told], *, is_alive: bool) -> str:
    ended = next((event for event in told if isinstance(event, NodeStopped)), None)
    if ended is not None:
        return ended.cause or "stopped"
    gone = next((event for event in told if isinstance(event, NodeGone)), None)
    if gone is not None:
        return gone.cause or "vanished"
    return "alive" if is_alive else "vanished"


def _one_by_one(found: list[Life]) -> list[Life]:
    """Let no two lives of one machine overlap, and leave no gap between them.

    A machine is known by its host and by when it was launched, and is paid for also between one
    process and the next. Processes that share it at the same time are paid for side by side.
    """
    ends: dict[tuple[str, float], list[float]] = {}
    result: list[Life] = []
    for life in found:
        joined = life
        about = next(event for event in life.events if isinstance(event, Billed))
        if about.host and about.since is not None:
            before = ends.setdefault((about.host, about.since), [])
            past = [end for end in before if end <= life.events[0].at]
            if past:
                joined = msgspec.structs.replace(life, start=max(past))
            before.append(life.end)
        result.append(joined)
    return result


def _since(launch: NodeLaunched) -> float:
    return launch.at if launch.since is None else min(launch.at, launch.since)


def _places(found: Sequence[Life]) -> dict[str, list[int]]:
    """Find lives by each name that their machine may have: `a-b-c`, `a-b`, `a`."""
    places: dict[str, list[int]] = {}
    for place, life in enumerate(found):
        name = life.node
        while name:
            places.setdefault(name, []).append(place)
            name = name.rpartition("-")[0]
    return places


def _end_by_machine(
    found: list[Life], places: Mapping[str, Sequence[int]], by_node: Mapping[str, Sequence[Told]]
) -> None:
    """Let a life end with its machine, where that was seen under the machine's own name."""
    for name, told in by_node.items():
        if any(isinstance(event, Billed) for event in told):
            continue
        for gone in (event for event in told if isinstance(event, NodeGone)):
            heirs = [place for place in places.get(name, ()) if found[place].start <= gone.at]
            if not heirs or found[heirs[-1]].is_alive:
                continue
            life = found[heirs[-1]]
            found[heirs[-1]] = msgspec.structs.replace(
                life,
                end=max(life.end, gone.at),
                how=gone.cause if life.how == "vanished" and gone.cause else life.how,
            )
            break


def _launched(
    found: list[Life],
    places: Mapping[str, Sequence[int]],
    launches: Sequence[NodeLaunched],
    by_node: Mapping[str, Sequence[Told]],
    now: float | None,
) -> list[Life]:
    """Let lives begin with the launch of their machine; return those of machines without a word."""
    silent: list[Life] = []
    taken: set[int] = set()
    for launch in launches:
        since = _since(launch)
        for place in places.get(launch.node, ()):
            life = found[place]
            if place not in taken and life.events[0].at >= since - EARLY_S:
                found[place] = msgspec.structs.replace(life, start=min(life.start, since))
                taken.add(place)
                break
        else:
            silent.append(_silent(launch, since, by_node.get(launch.node, ()), now))
    return silent


def _silent(launch: NodeLaunched, since: float, told: Sequence[Told], now: float | None) -> Life:
    """Make the life of a machine that never came up, or has not yet; all of it is start-up.

    Without a word of its end it is believed to go on for a while, and then to be no more.
    """
    gone = [event for event in told if isinstance(event, NodeGone) and event.at >= since]
    until = since if now is None else min(now, since + SILENT_START_S)
    end = gone[0].at if gone else max(since, until)
    return Life(
        node=launch.node,
        capacity_type=launch.capacity_type,
        zone=launch.zone,
        model=launch.model,
        instance_type=launch.instance_type,
        price_usd_per_hour=launch.price_usd_per_hour,
        start=since,
        end=end,
        how=gone[0].cause or "vanished" if gone else "alive" if until == now else "vanished",
        events=(launch,),
    )
