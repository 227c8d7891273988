"""Managers as operators run them: processes of `fleet pool run`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.integration import cli


class Managers:
    """Processes of `fleet pool run`, started one by one."""

    def __init__(self, url: str, words: tuple[str, ...]) -> None:
        self._url = url
        self._words = words
        self.started: list[asyncio.subprocess.Process] = []

    async def add(self) -> asyncio.subprocess.Process:
        self.started.append(await cli.start(self._url, *self._words))
        return self.started[-1]


@asynccontextmanager
async def running(url: str, words: tuple[str, ...]) -> AsyncIterator[Managers]:
    managers = Managers(url, words)
    try:
        yield managers
    finally:
        for process in managers.started:
            if process.returncode is None:
                process.kill()
            if process.stdout is not None and not process.stdout.at_eof():
                await process.communicate(b"")  # which closes its input, too
