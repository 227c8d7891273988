"""Places where a test may make this process die, freeze or fail, between two steps that matter.

`FLEET_FAULTS` names them: `append.after=kill@3,ack.before=block:2@1` kills the process when it
comes past `append.after` for the third time, and blocks its event loop for two seconds before its
first ack. Unset, as it is in production, a point costs one look at an empty dictionary.
"""

import os
import signal
import time
from collections.abc import Mapping
from typing import Final, Literal, get_args

import msgspec

from fleet.errors import BrokerUnreachable, UsageError

VARIABLE: Final = "FLEET_FAULTS"
Point = Literal[
    "claim.after",
    "generate.after",
    "append.before",
    "append.after",
    "checkpoint.before",
    "checkpoint.after",
    "ack.before",
    "ack.after",
    "release.before",
    "release.after",
]
Action = Literal["kill", "freeze", "block", "fail"]
POINTS: Final[tuple[str, ...]] = get_args(Point)


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What happens at a point when it is passed for the `nth` time, from 1.

    kill: SIGKILL. freeze: SIGSTOP. block: the thread sleeps `seconds`. fail: as if the broker had
    not answered.
    """

    action: Action
    nth: int
    seconds: float = 0.0


def parse(text: str) -> dict[str, Fault]:
    """Read the value of the variable. Raises UsageError."""
    faults: dict[str, Fault] = {}
    for part in filter(None, text.split(",")):
        point, _, what = part.partition("=")
        action, _, nth = what.partition("@")
        name, _, seconds = action.partition(":")
        try:
            fault = msgspec.convert(
                {"action": name, "nth": nth or "1", "seconds": seconds or "0"}, Fault, strict=False
            )
        except msgspec.ValidationError as error:
            raise UsageError(f"{VARIABLE}: {part!r}: {error}") from error
        if point not in POINTS:
            raise UsageError(f"{VARIABLE}: no point {point!r}; there are {', '.join(POINTS)}")
        faults[point] = fault
    return faults


class Faults:
    """The faults of this process, and how often each point was passed."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._faults = parse(env.get(VARIABLE, ""))
        self._passed = dict.fromkeys(self._faults, 0)

    def at(self, point: Point) -> None:
        """Pass a point. Raises BrokerUnreachable where the fault says `fail`."""
        fault = self._faults.get(point)
        if fault is None:
            return
        self._passed[point] += 1
        if self._passed[point] != fault.nth:
            return
        match fault.action:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "freeze":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "block":
                time.sleep(fault.seconds)
            case "fail":
                raise BrokerUnreachable(f"the fault at {point} that {VARIABLE} asks for")


NONE: Final = Faults({})
