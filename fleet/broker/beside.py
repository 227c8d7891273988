"""A task beside the body of an `async with`."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self


class Beside:
    """Run a task for as long as the body runs.

    An error of the body leaves as it is, in no group. An error of the task cancels the body and
    leaves as an exception group.
    """

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self._work = work
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._task = self._group.create_task(self._work)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._task.cancel()
        if isinstance(error, asyncio.CancelledError):
            # It may be the group's own doing, so the group has to see it.
            await self._group.__aexit__(kind, error, traceback)
        else:
            await self._group.__aexit__(None, None, None)
