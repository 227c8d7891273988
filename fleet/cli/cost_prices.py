"""Where `fleet cost` has its prices from: a file, the package's example, and the spot market."""

import time
from collections.abc import Collection, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import click

from fleet.errors import UsageError
from fleet.lives import Life
from fleet.prices import DAY_S, PriceBook, read_book

if TYPE_CHECKING:
    from fleet.pool.market import SpotHistory
    from fleet.pool.provider import Fault

EXAMPLE: Final = "example_prices.toml"
# The market remembers no more.
MARKET_S: Final = 90 * DAY_S


class Market(Protocol):
    """Says what spot machines cost, now and before."""

    async def history(
        self, instance_types: Collection[str], zones: Collection[str] = (), *, back_s: float = 0.0
    ) -> "SpotHistory | Fault":
        """Return the prices that were in force in the last `back_s` seconds."""
        ...


def load_book(path: Path | None) -> PriceBook:
    """Read a price book, or the package's example. Raises UsageError."""
    if path is None:
        return read_book(files("fleet").joinpath(EXAMPLE).read_text(encoding="utf-8"), name=EXAMPLE)
    try:
        return read_book(path.read_text(encoding="utf-8"), name=path.name)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"price book {path}: {error}") from error


def spot_market(region: str) -> Market:
    """Reach AWS's market of a region, with the credentials that boto3 finds."""
    from fleet.pool.ec2_api import Ec2Api, Place
    from fleet.pool.spot_prices import SpotMarket

    return SpotMarket(Ec2Api(Place(region=region)))


async def with_market(book: PriceBook, lives: Sequence[Life], market: Market) -> PriceBook:
    """Add what the market says of the machines of these lives; a market that is down adds nothing.

    What went wrong is said on stderr.
    """
    from fleet.pool.provider import Fault

    now = time.time()
    asked = [
        life
        for life in lives
        if life.capacity_type == "spot" and life.instance_type and life.price_usd_per_hour is None
    ]
    if not asked:
        return book
    heard = await market.history(
        {life.instance_type for life in asked},
        {life.zone for life in asked},
        back_s=min(MARKET_S, max(0.0, now - min(life.start for life in asked))),
    )
    if isinstance(heard, Fault):
        click.echo(f"note: the market's prices are left out: {heard.text}", err=True)
        return book
    if heard.dropped:
        click.echo(f"note: {heard.dropped} of the market's prices made no sense", err=True)
    return book.with_spot(heard.prices, now=now)
