"""How old a snapshot is, and what its figures are over. Pure."""

from collections.abc import Sequence
from typing import Final

from dashboard.snapshot import FleetSnapshot, Part

# What every view rests on; the age of the oldest of them is the age of the data.
_BASE: Final[tuple[Part, ...]] = ("nodes", "queues")


def age_s(snapshot: FleetSnapshot, parts: Sequence[Part] = _BASE) -> float | None:
    """Say how old the oldest of some parts is; None where one was never read."""
    ages = [snapshot.at - snapshot.read_at[part] for part in parts if part in snapshot.read_at]
    return max(0.0, *ages) if ages and len(ages) == len(parts) else None


def window_name(window_s: float) -> str:
    """Name a window as it stands beside each rate: `5m`, `1h`."""
    return f"{window_s / 3600:.0f}h" if window_s >= 3600 else f"{window_s / 60:.0f}m"


def percentile(values: Sequence[float], share: float) -> float | None:
    """Give the value below which `share` (0 to 1) of all values lie; None without any.

    Over several queues or nodes it is that of all their values together: percentiles of parts
    cannot be averaged.
    """
    if not values:
        return None
    order = sorted(values)
    return order[min(len(order) - 1, int(share * len(order)))]
