"""A consumer's ear, without a consumer: what `follow` hears of a stub."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from consumers.interruption.follow import follow
from consumers.interruption.source import Pace
from fleet.notice import Notice
from fleet.settings import Cloud
from tests.metadata.stub import BOUND_S, Stub

QUICK = Pace(
    poll_s=0.02, answer_s=1.0, hold_s=1.0, first_s=5.0, retry_s=0.02, silent_s=0.05, busy_s=0.05
)


class Listener:
    """What was heard, and how much was left of it then."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.left_s: list[float] = []
        self._news = asyncio.Event()

    def hear(self, notice: Notice) -> None:
        self.notices.append(notice)
        left_s = (notice.deadline or float("inf")) - time.monotonic()
        self.left_s.append(left_s)
        self._news.set()

    async def heard(self, count: int = 1) -> Notice:
        """Wait for the first `count` notices; return the last of them."""
        async with asyncio.timeout(BOUND_S):
            while len(self.notices) < count:
                self._news.clear()
                await self._news.wait()
        return self.notices[count - 1]


@asynccontextmanager
async def listening(
    stub: Stub, cloud: Cloud, *, pace: Pace = QUICK, env: Mapping[str, str] | None = None
) -> AsyncIterator[Listener]:
    """Follow the notices of a stub while the body runs."""
    listener = Listener()
    async with asyncio.TaskGroup() as group:
        following = group.create_task(
            follow(listener.hear, cloud=cloud, env={**at(stub), **(env or {})}, pace=pace)
        )
        yield listener
        following.cancel()


def at(stub: Stub) -> dict[str, str]:
    """Return the variables that make all three clouds be where the stub is."""
    return {
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": stub.url,
        "GCE_METADATA_HOST": stub.url.removeprefix("http://"),
        "FLEET_AZURE_METADATA": stub.url,
    }
