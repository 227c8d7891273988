"""What two benchmarks share: strike a consumer again and again, with a notice and with a kill."""

import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from fleet.settings import Settings
from tests.bench.report import Figure, Options, at_most, median
from tests.bench.stage import Stage, stage

# Strikes with these signals, one after the other; returns the seconds that each cost.
Strike: TypeAlias = Callable[[Stage, Sequence[signal.Signals]], Awaitable[list[float]]]


async def measured(options: Options, *, model: str, name: str, strike: Strike) -> Sequence[Figure]:
    """Strike so often with each signal; a notice may cost 0.5 s, a kill the ack wait and 2 s."""
    rounds = options.rounds or (1 if options.quick else 5)
    async with stage(model) as here:
        cost_s = await strike(here, [signal.SIGTERM, signal.SIGKILL] * rounds)
    ack_wait_s = Settings().ack_wait_s
    notices, kills = cost_s[0::2], cost_s[1::2]
    note = f"ack wait {ack_wait_s:g} s"
    return (
        at_most(0.5, median(f"{name}_notice", notices, "s")),
        at_most(ack_wait_s + 2, median(f"{name}_kill", kills, "s", note)),
        median(f"{name}_notice_worst", [max(notices)], "s"),
        median(f"{name}_kill_worst", [max(kills)], "s"),
    )
