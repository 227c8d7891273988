"""`fleet cost`: what the fleet cost, what for, and what on-demand alone would have cost."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click
import msgspec

from fleet.cli import options
from fleet.cli.times import Length
from fleet.errors import UsageError

if TYPE_CHECKING:
    from fleet.accounts import Books
    from fleet.cost import Report
    from fleet.job_costs import JobWorks
    from fleet.lives import Life
    from fleet.prices import PriceBook

BY: Final = ("pool", "model", "tenant", "batch", "job", "day")


class Wanted(NamedTuple):
    """Whose rows are asked for; None for everybody's."""

    tenant: str | None
    batch: str | None

    def fits(self, name: str) -> bool:
        """Tell whether the row of a tenant, or of `tenant/batch`, is one of them."""
        tenant, _, batch = name.partition("/")
        return self.tenant in {None, tenant} and self.batch in {None, batch}


@click.command()
@click.option("--by", type=click.Choice(BY), default="pool", show_default=True,
              help="What the rows are.")  # fmt: skip
@click.option("--since", "length_s", type=Length(), metavar="LENGTH",
              help="Only the last `24h`, `7d`; default: all events that are kept.")  # fmt: skip
@click.option("--prices", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              metavar="FILE", help="Price book; default: the package's example.")  # fmt: skip
@click.option("--market", "region", metavar="REGION",
              help="Ask AWS in this region, too, what spot cost (extra `aws`).")  # fmt: skip
@click.option("--tenant", metavar="NAME", help="Only rows of this tenant's work.")
@click.option("--batch", metavar="NAME", help="Only rows of this batch.")
@options.nats
@options.as_json
def command(
    *,
    by: str,
    length_s: float | None,
    prices: Path | None,
    region: str | None,
    tenant: str | None,
    batch: str | None,
    nats: str | None,
    as_json: bool,
) -> None:
    """Show what the nodes cost and what their time went for; the parts sum to the bill.

    A row of tenants, batches and jobs bears its part of start-ups, idleness and lost work, by the
    useful time of its pool. A node's own price counts (`--price` of `fleet consumer`), else the
    price book by its instance type (FLEET_INSTANCE_TYPE). docs/economics.md explains every figure.
    An estimate: the invoice of your provider counts.

    With --json: an object with `since` (null: from the first event), `until`, `prices` (dated,
    source, doubts) and `report`: bill, parts, rows, interruptions, fallback. Exit code 1 when an
    account does not add up.
    """
    from fleet.cli.cost_prices import load_book
    from fleet.cli.cost_view import text

    _check(by, tenant, batch)
    book = load_book(prices)
    since = -math.inf if length_s is None else time.time() - length_s
    wanted = Wanted(tenant, batch)
    jobs_of = wanted if by == "job" else None
    books, works = options.run(_read(nats, book, region, since=since, jobs_of=jobs_of))
    report = _report(books, by, works, wanted)
    doubts = list(books.pricing.doubts(books.accounts))
    if prices is None and books.pricing.uses_book:
        doubts.append(f"prices are {book.source}: name your own with --prices")
    if as_json:
        said = {
            "since": None if length_s is None else since,
            "until": books.until,
            "prices": {"dated": book.dated, "source": book.source, "doubts": doubts},
            "report": report,
        }
        click.echo(msgspec.json.encode(said))
        return
    click.echo(text(report))
    for doubt in doubts:
        click.echo(f"note: {doubt}", err=True)


def _report(books: "Books", by: str, works: "JobWorks | None", wanted: "Wanted") -> "Report":
    from fleet.cost import By, report
    from fleet.job_costs import job_rows

    groups = msgspec.convert("batch" if by == "job" else by, By)
    made = report(books.accounts, books.pricing.on_demand, by=groups, since=books.since)
    rows = [row for row in made.rows if wanted.fits(row.name)]
    if works is not None:
        return msgspec.structs.replace(made, by="job", rows=tuple(job_rows(rows, works)))
    return msgspec.structs.replace(made, rows=tuple(rows))


def _check(by: str, tenant: str | None, batch: str | None) -> None:
    if tenant and by not in {"tenant", "batch", "job"}:
        raise UsageError("--tenant narrows rows of tenants, batches or jobs: add --by tenant")
    if batch and by not in {"batch", "job"}:
        raise UsageError("--batch narrows rows of batches or jobs: add --by job")


async def _read(
    url: str | None,
    book: "PriceBook",
    region: str | None,
    *,
    since: float,
    jobs_of: Wanted | None,
) -> tuple["Books", "JobWorks | None"]:
    """Open the books; read jobs only where they are asked for."""
    from fleet.accounts import open_books, read_jobs
    from fleet.cli.cost_prices import spot_market, with_market
    from fleet.cli.progress import slow
    from fleet.cli.reached import reached

    async def refined(lives: "Sequence[Life]") -> "PriceBook":
        return book if region is None else await with_market(book, lives, spot_market(region))

    async with reached(url, name="fleet-cost") as connection:
        with slow() as report:
            books = await open_books(connection, refined, since=since, on_progress=report)
        if jobs_of is None:
            return books, None
        tenant, batch = jobs_of
        return books, await read_jobs(connection, books, tenant=tenant, batch=batch)
