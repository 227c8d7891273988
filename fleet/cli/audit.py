"""What an operator does to a fleet, by a command or from the screen, is told in EVENTS.

Each act leaves two events: one before it, without which nothing is done, and one that says what
came of it.
"""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final, Literal, TypeAlias, assert_never

import click

from dashboard.acting import OnBatch, OnJob, OnLetter, OnNode, OnQueue, Target
from fleet.broker.connection import Connection
from fleet.broker.eventlog import store_event
from fleet.cli.who import who
from fleet.errors import BrokerRefused, BrokerUnreachable, FleetError
from fleet.events import OperatorActed
from fleet.subjects import plain

# What somebody who breaks off waits for an act's last word.
LAST_WORD_S: Final = 2.0
Outcome: TypeAlias = Literal["begun", "done", "failed"]


class Act:
    """One act. by: user and machine. target: what it is about, a target's own words or others.

    result: what came of it, in a sentence, for the body to set. is_told: whether EVENTS has its
    end, once it is over.
    """

    def __init__(self, deed: str, target: Target | str, *, by: str) -> None:
        self._deed = deed
        self._target = target
        self._by = by
        self.result = ""
        self.is_told = False

    def event(self, outcome: Outcome, result: str = "") -> OperatorActed:
        """Say how it stands, now."""
        target = self._target
        return OperatorActed(
            at=time.time(),
            node=target.node if isinstance(target, OnNode) else "",
            by=self._by,
            deed=self._deed,
            target=plain(target) if isinstance(target, str) else described(target),
            outcome=outcome,
            result=plain(result),
        )


@asynccontextmanager
async def audited(connection: Connection, act: Act) -> AsyncIterator[None]:
    """Tell an act before the body does it, and afterwards what came of it.

    Raises BrokerRefused or BrokerUnreachable, and does nothing, where it cannot be told.
    """
    # Nothing is done that nobody could find afterwards, so this one may raise.
    await _tell(connection, act.event("begun"))
    try:
        yield
    except FleetError as error:
        await _told(connection, act.event("failed", str(error)))
        raise
    except asyncio.CancelledError:
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORD_S):
                await _told(connection, act.event("failed", "it was broken off"))
        raise
    act.is_told = await _told(connection, act.event("done", act.result))


@asynccontextmanager
async def commanded(connection: Connection, deed: str, target: Target | str) -> AsyncIterator[Act]:
    """As `audited`, for a command of whoever sits here."""
    act = Act(deed, target, by=who())
    async with audited(connection, act):
        yield act
    if not act.is_told:
        click.echo("fleet: it is done, but EVENTS holds only its beginning", err=True)


@asynccontextmanager
async def ending(connection: Connection, target: OnJob | OnBatch) -> AsyncIterator[Act]:
    """As `commanded`, for the end of work that may be one's own: that is no operator's act.

    Whoever has a tenant's key ends what is that tenant's; it may not write EVENTS.
    """
    act = Act("cancel", target, by=who())
    async with AsyncExitStack() as stack:
        if os.environ.get("FLEET_TENANT") != target.tenant:
            with suppress(BrokerRefused):
                await stack.enter_async_context(audited(connection, act))
        yield act


def described(target: Target) -> str:
    """Name a target in words."""
    match target:
        case OnNode(node=node):
            return f"node {plain(node)}"
        case OnQueue(tier=tier, model=model):
            return f"queue {tier} {plain(model)}"
        case OnJob(tenant=tenant, job=job):
            return f"job {plain(job)} of {plain(tenant)}"
        case OnBatch(tenant=tenant, batch=batch):
            return f"batch {plain(batch)} of {plain(tenant)}"
        case OnLetter(letter=letter):
            return f"dead letter {letter}"
    assert_never(target)


def only_error(group: ExceptionGroup) -> Exception:
    """Take our error out of a group; the group itself where a bug is among its members."""
    _, bugs = group.split(FleetError)
    error: Exception = group
    while bugs is None and isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


async def _told(connection: Connection, event: OperatorActed) -> bool:
    with suppress(BrokerUnreachable, BrokerRefused):
        await _tell(connection, event)
        return True
    return False


async def _tell(connection: Connection, event: OperatorActed) -> None:
    await store_event(connection, event, msg_id=secrets.token_hex(12))
