"""Numbers as the screen writes them: short, with a unit; a dash is what is unknown. Pure."""

import math
from datetime import UTC, datetime
from typing import Final

DASH: Final = "-"
_MINUTE: Final = 60
_HOUR: Final = 3600
_MINUTES_ALONE: Final = 600
_DAY: Final = 86400
_STEPS: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def age(seconds: float | None) -> str:
    """Write a length of time in at most six characters: `0.4s`, `43s`, `4m12`, `14m`, `3h05`.

    The longer it is, the less often its text changes, and the less is sent.
    """
    if seconds is None:
        return DASH
    if seconds <= 0:
        return "0s"
    return (
        f"{seconds:.1f}s" if seconds < 9.95 and seconds != int(seconds) else _whole(round(seconds))
    )


def _whole(seconds: int) -> str:
    if seconds < _MINUTE:
        return f"{seconds}s"
    if seconds < _MINUTES_ALONE:
        return f"{seconds // _MINUTE}m{seconds % _MINUTE:02}"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE}m"
    if seconds < _DAY:
        return f"{seconds // _HOUR}h{seconds % _HOUR // _MINUTE:02}"
    return f"{seconds // _DAY}d{seconds % _DAY // _HOUR:02}h"


def beat(seconds: float | None) -> str:
    """Write how long ago a beat was, in whole seconds, and in as many as it takes: `1s`, `43s`."""
    return DASH if seconds is None else age(max(1, math.ceil(seconds)))


def clock(at: float) -> str:
    """Write a time of day, UTC; a dash for what no calendar has."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return DASH


def countdown(seconds: float | None) -> str:
    """Write what is left as `1:43`; `now` when nothing is."""
    if seconds is None:
        return DASH
    if seconds <= 0:
        return "now"
    whole = int(seconds)
    if whole >= _HOUR:
        return age(seconds)
    return f"{whole // _MINUTE}:{whole % _MINUTE:02}"


def count(number: float | None) -> str:
    """Write a count in at most five characters: `0`, `999`, `12.3k`, `4.56M`."""
    if number is None:
        return DASH
    for size, unit in _STEPS:
        if abs(number) >= size * 0.9995:
            scaled = number / size
            digits = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
            return f"{scaled:.{digits}f}{unit}"
    return f"{number:.0f}"


def rate(number: float | None) -> str:
    """Write a rate: one decimal below ten, else as a count."""
    if number is None:
        return DASH
    return f"{number:.1f}" if 0 < abs(number) < 9.95 else count(number)


def usd(amount: float | None) -> str:
    """Write an amount of money in US dollars, with as many decimals as it deserves."""
    if amount is None:
        return DASH
    size = abs(amount)
    sign = "-" if amount < 0 else ""
    if size >= 10_000:
        return f"{sign}${count(size)}"
    if size >= 100:
        return f"{sign}${size:.0f}"
    if size >= 0.1 or size == 0:
        return f"{sign}${size:.2f}"
    return f"{sign}${size:.4f}"


def percent(share: float | None) -> str:
    """Write a share of 0 to 1 as percent."""
    if share is None:
        return DASH
    return f"{share * 100:.1f}%" if 0 < share < 0.0995 else f"{share * 100:.0f}%"
