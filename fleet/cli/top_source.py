"""Where `fleet top` and `fleet check` look: a fleet, or a recording of one."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fleet.broker.connection import Connection

if TYPE_CHECKING:
    from dashboard.live.source import LiveSource


def live(
    url: str | None, *, prices: Path | None = None, pace_s: float = 2.0, wait_s: float = 10.0
) -> "LiveSource":
    """Watch the fleet behind an address. Raises UsageError for a context that cannot be used."""
    from dashboard.live.source import LiveSource
    from fleet.broker.context import find_target
    from fleet.cli.cost_prices import load_book

    return LiveSource(
        find_target(url, os.environ), book=load_book(prices), why=_why, pace_s=pace_s, wait_s=wait_s
    )


async def _why(connection: Connection, tenant: str, job: str) -> Sequence[str]:
    """Say why a job waits. Raises NotFound for one that is in no queue."""
    from fleet.pool.waiting import waiting
    from fleet.settings import Settings

    deadline_s = Settings.from_env(os.environ).realtime_deadline_s
    found = await waiting(connection, tenant, job, realtime_deadline_s=deadline_s)
    return found.texts
