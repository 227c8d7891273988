"""The broker that a command speaks to."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import click

from fleet.broker.connection import Connection, connect
from fleet.broker.context import find_target

# Whoever waits for longer wonders what for.
QUIET_S: Final = 2.0


@asynccontextmanager
async def reached(
    url: str | None, *, name: str, env: Mapping[str, str] = os.environ
) -> AsyncIterator[Connection]:
    """Connect while the body runs, to `url` or to what the environment says; as `connect`.

    A server that is not there at once is waited for, and after QUIET_S that is said on stderr.
    """
    target = find_target(url, env)
    text = f"no NATS server answers at {target.address} yet, still trying"
    async with AsyncExitStack() as stack:
        notice = asyncio.get_running_loop().call_later(QUIET_S, _say, text)
        try:
            connection = await stack.enter_async_context(connect(target, name=name))
        finally:
            notice.cancel()
        yield connection


def _say(text: str) -> None:
    click.echo(text, err=True)
