"""Prompts that hurt the scripted engine, for tests of what a real one does when it is hurt.

`FLEET_SCRIPTED_MISHAPS=crash=boom,fail=oops` makes every prompt with `boom` in it kill the process,
and every one with `oops` fail. Unset, as it is outside tests, no prompt is special.
"""

import os
import signal
from collections.abc import Mapping
from typing import Final, Literal, get_args

from fleet.errors import JobFailed, UsageError

VARIABLE: Final = "FLEET_SCRIPTED_MISHAPS"
# crash: the process is killed. die: the engine is, as by the kernel. hang: it goes silent. fail:
# this request fails, in a way that might pass.
Mishap = Literal["crash", "die", "hang", "fail"]
MISHAPS: Final[tuple[str, ...]] = get_args(Mishap)


def parse(env: Mapping[str, str]) -> dict[bytes, str]:
    """Read which text brings about which mishap. Raises UsageError."""
    found: dict[bytes, str] = {}
    for part in filter(None, env.get(VARIABLE, "").split(",")):
        mishap, _, text = part.partition("=")
        if mishap not in MISHAPS or not text:
            raise UsageError(f"{VARIABLE}: {part!r} is not {'|'.join(MISHAPS)}=TEXT")
        found[text.encode()] = mishap
    return found


def of(prompt: bytes, mishaps: Mapping[bytes, str]) -> str | None:
    """Say what this prompt brings about."""
    return next((mishap for text, mishap in mishaps.items() if text in prompt), None)


def suffer(mishap: str | None) -> None:
    """Do what needs no engine. Raises JobFailed."""
    if mishap == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if mishap == "fail":
        raise JobFailed("the scripted engine was told to fail this prompt", code="failed")
