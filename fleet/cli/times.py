"""Times on the command line: lengths such as `90s` and `24h`, moments such as RFC 3339 has them."""

import re
import time
from datetime import datetime
from typing import Final

import click

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LENGTH: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd])")
_LONGEST_S: Final = 365 * 86_400


class Length(click.ParamType[float]):
    """A length of time, in seconds."""

    name = "length"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read `30s`, `5m`, `24h` or `7d`."""
        match = _LENGTH.fullmatch(value)
        seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
        if not 0 < seconds <= _LONGEST_S:
            self.fail(f"{value!r} is no length of time: write 30s, 5m, 24h or 7d", param, ctx)
        return seconds


class Moment(click.ParamType[float]):
    """A moment, in seconds since the epoch, given as such or by its distance from now."""

    name = "moment"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read `30s` or `2027-01-31T12:00:00Z`."""
        if _LENGTH.fullmatch(value):
            return time.time() + Length().convert(value, param, ctx)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            self.fail(
                f"{value!r} is neither a length such as 30s nor a time with a zone such as "
                "2027-01-31T12:00:00Z",
                param,
                ctx,
            )
        return moment.timestamp()


def length(seconds: float) -> str:
    """Show a length of time in its two largest units: `2h 05m`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02}m"
    return f"{minutes}m {rest:02}s" if minutes else f"{rest}s"
