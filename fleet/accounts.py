"""Reading from the broker what a ledger needs: events, who is alive, and lines of results."""

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

import msgspec

from fleet.broker.connection import Connection
from fleet.broker.eventlog import EventLog
from fleet.broker.log_state import lines_of
from fleet.broker.nodes import Nodes
from fleet.broker.stored import messages
from fleet.events import AnyEvent
from fleet.job_costs import JobWorks
from fleet.ledger import Account, ledger
from fleet.lives import Life, Told, believed, lives
from fleet.prices import PriceBook
from fleet.pricing import Pricing
from fleet.subjects import IDENTIFIER, NO_BATCH, RESULTS

OnProgress: TypeAlias = Callable[[str, int, int], None]
Refine: TypeAlias = Callable[[Sequence[Life]], Awaitable[PriceBook]]
# How often progress is told; a bar that moves more often costs more than the reading.
EVERY: Final = 256


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """A fleet's accounts, and the prices behind them. since, until: of the window."""

    accounts: list[Account]
    pricing: Pricing
    since: float
    until: float


async def open_books(
    connection: Connection,
    book: PriceBook | Refine,
    *,
    since: float = -math.inf,
    on_progress: OnProgress = lambda _what, _done, _all: None,
) -> Books:
    """Read all events that are kept, and make the accounts of the window from `since` to now.

    book: or what makes one for the lives that are found.
    Raises BrokerRefused, BrokerUnreachable, and ProcessError if an account does not add up.
    """
    now = time.time()
    # First who is alive: who stops a moment later says so in an event that is read then.
    beats = {node.node: min(node.at, now) for node in await Nodes(connection).list()}
    log = EventLog(connection)
    last, events = await log.last(), list[AnyEvent]()
    async for recorded in log.read():
        if isinstance(recorded.event, Told):
            events.append(believed(recorded.event, recorded.written_at))
        if recorded.sequence % EVERY == 0:
            on_progress("events", min(recorded.sequence, last), last)
    found = lives(events, beats, now=now)
    pricing = Pricing(book if isinstance(book, PriceBook) else await book(found), found)
    return Books(
        accounts=ledger(found, pricing.paid, since=since), pricing=pricing, since=since, until=now
    )


async def read_jobs(
    connection: Connection, books: Books, *, tenant: str | None = None, batch: str | None = None
) -> JobWorks:
    """Read what the result log keeps of jobs; None for all tenants, or all batches.

    Raises BrokerRefused, BrokerUnreachable.
    """
    rates = {
        account.life.node: account.usd / account.seconds
        for account in books.accounts
        if account.usd and account.seconds
    }
    works = JobWorks(rates)
    async for stored in messages(connection, RESULTS, f"results.{tenant or '*'}.{batch or '*'}.*"):
        _, owner, of, job = stored.subject.split(".")
        if stored.written_at >= books.since and IDENTIFIER.fullmatch(job):
            works.take(owner, None if of == NO_BATCH else of, job, lines_of(job, stored))
    return works
