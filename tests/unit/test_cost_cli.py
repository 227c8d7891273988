"""`fleet cost` before it asks anybody, and its report as text."""

from collections.abc import Collection
from pathlib import Path

import pytest

from fleet.cli.cost import Wanted
from fleet.cli.cost_prices import MARKET_S, load_book, with_market
from fleet.cli.cost_view import text
from fleet.cli.main import cli
from fleet.cost import report
from fleet.exits import run_command
from fleet.ledger import ledger
from fleet.lives import Life, lives
from fleet.pool.market import SpotHistory, SpotPrice
from fleet.pool.provider import Fault
from tests.books import T0, Machine, on_demand, priced, seed_fleet


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--tenant", "acme"], "add --by tenant"),
        (["--by", "tenant", "--batch", "b1"], "add --by job"),
        (["--since", "soon"], "no length of time"),
        (["--prices", "bad.toml"], "price book bad.toml: "),
        (["--prices", "binary.toml"], "price book binary.toml: "),
    ],
)
def test_what_cannot_be_right_is_refused_before_anything_is_read(
    flags: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("bad.toml").write_text("prices")
    Path("binary.toml").write_bytes(b"\xff\xfe")
    assert run_command(cli, ["cost", *flags], name="fleet") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err


def test_rows_are_narrowed_by_tenant_and_batch() -> None:
    assert Wanted(None, None).fits("-")
    assert Wanted("acme", None).fits("acme/b1")
    assert not Wanted("acme", None).fits("acme2/b1")
    assert Wanted("acme", "b1").fits("acme/b1")
    assert not Wanted(None, "b1").fits("acme/b12")


def test_the_report_of_the_example_reads_as_its_documentation_says() -> None:
    lines = text(report(ledger(lives(seed_fleet()), priced), on_demand)).splitlines()
    assert lines[0] == "1,800.00 USD for 1000h 00m of 50 nodes"
    assert lines[1].split() == ["useful", "work", "991h", "40m", "1,785.00", "USD", "99.2%"]
    assert "4,462.50 USD for the same work on on-demand: saved 2,662.50 USD (59.66%)" in lines
    assert "50 interruptions cost 14.70 USD, 0.2940 each" in lines
    assert "the last 40 of 50: --json lists all" in lines


def test_what_is_not_known_is_said_and_not_guessed() -> None:
    n = Machine()
    accounts = ledger(lives([n.started(0), n.ready(1)]), lambda _: None)
    shown = text(report(accounts, lambda _: None))
    assert "not in the bill: 1h 00m of nodes without a price" in shown
    assert "counted as idle: nodes that did not tell what they did (n1)" in shown
    assert "no price is known, so nothing is said of savings" in shown


def test_spot_that_cost_more_is_not_called_a_saving() -> None:
    n = Machine()
    told = [n.started(0), n.ready(1), n.meter(10, busy=2), n.used(10, 2), n.stopped(10)]
    shown = text(report(ledger(lives(told), priced), on_demand))
    assert "9.0000 USD for the same work on on-demand: paid more 9.0000 USD (100.00%)" in shown
    assert text(report(ledger(lives(told), lambda _: None), on_demand))
    assert priced(lives(told)[0]) is not None


class Market:
    """A market that says one thing, and remembers what it was asked."""

    def __init__(self, says: SpotHistory | Fault) -> None:
        self._says = says
        self.asked: list[tuple[set[str], set[str], float]] = []

    async def history(
        self, instance_types: Collection[str], zones: Collection[str] = (), *, back_s: float = 0.0
    ) -> SpotHistory | Fault:
        self.asked.append((set(instance_types), set(zones), back_s))
        return self._says


def spot_lives(*, price: float | None = None) -> list[Life]:
    spot, other = Machine("a", zone="z1", price=price), Machine("b", "on-demand", zone="z2")
    return lives([spot.started(0), spot.ready(1), other.started(0), other.ready(1)])


async def test_the_market_is_asked_for_the_spot_machines_there_were() -> None:
    quote = SpotPrice(zone="z1", instance_type="h100", usd_per_hour=0.9, at=T0)
    market = Market(SpotHistory(prices=(quote,)))
    book = await with_market(load_book(None), spot_lives(), market)
    assert [asked[:2] for asked in market.asked] == [({"h100"}, {"z1"})]
    assert 0 <= market.asked[0][2] <= MARKET_S
    series = book.series("h100", "z1", "spot")
    assert series is not None
    assert series.at(T0) == 0.9


async def test_a_market_that_does_not_answer_is_named_and_adds_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    book = load_book(None)
    market = Market(Fault(kind="throttled", text="asked too often"))
    assert await with_market(book, spot_lives(), market) is book
    assert "the market's prices are left out: asked too often" in capsys.readouterr().err


async def test_nobody_asks_the_market_about_nodes_that_named_their_price() -> None:
    market = Market(SpotHistory())
    await with_market(load_book(None), spot_lives(price=1.0), market)
    assert market.asked == []
