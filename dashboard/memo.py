"""Rows of a snapshot, made once however many ask for them. Pure: it only saves work."""

from collections.abc import Callable, Hashable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from dashboard.snapshot import FleetSnapshot

P = ParamSpec("P")
T = TypeVar("T")
Of = Callable[Concatenate[FleetSnapshot, P], T]


def once(make: Of[P, T]) -> Of[P, T]:
    """Keep what `make` gave for the last snapshot. Nobody may change what it returns.

    A snapshot is told by being the same object: to compare a large one would take as long.
    """
    last: FleetSnapshot | None = None
    made: dict[Hashable, T] = {}

    @wraps(make)
    def kept(snapshot: FleetSnapshot, /, *args: P.args, **kwargs: P.kwargs) -> T:
        nonlocal last
        if snapshot is not last:
            last = snapshot
            made.clear()
        key = (args, tuple(kwargs.items()))
        if key not in made:
            made[key] = make(snapshot, *args, **kwargs)
        return made[key]

    return kept
