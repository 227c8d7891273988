"""A fleet of real processes that a manager runs, and a market that takes zones away."""

import os
import time
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import msgspec
import pytest

from fleet.accounts import open_books
from fleet.batches import Batches
from fleet.cost import Report, report
from fleet.events import PoolActed, PoolDecided
from fleet.ledger import PARTS
from fleet.node import Node
from fleet.pool.fleet_plan import FleetPlan
from fleet.pool.fleet_up import Fleet, fleet_up
from fleet.pool.knobs import Knobs
from fleet.pool.managed import PRICES_USD_PER_HOUR, QUICK
from fleet.prices import read_book
from tests.asking import event_of, events_of, eventually
from tests.batching import submit_batch
from tests.fleets import QUICK as QUICK_SETTINGS
from tests.integration.batch_kit import finished

pytestmark = pytest.mark.timeout(300)
MODEL, TENANT = "smollm2", "acme"
ITEMS, WINDOW_S = 60, 120.0
BOUND_S = 60.0
# Patience that fits a test, and all of the spot for little work.
TUNING = msgspec.structs.replace(QUICK, hold_s=2.0, cool_reclaimed_s=4.0, ahead=20.0)
KNOBS = Knobs(baseline=1, most_spot=3, most_on_demand=2, tuning=TUNING)


@pytest.fixture
async def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    for name, value in QUICK_SETTINGS.items():
        monkeypatch.setenv(name, value)
    plan = FleetPlan(
        model=MODEL, engine="scripted", store=tmp_path, on_demand=1, zones=("a", "b", "c"),
        managed=KNOBS, arguments=("--token-rate", "20", "--slots", "4"),
        prices_usd_per_hour=PRICES_USD_PER_HOUR,
    )  # fmt: skip
    async with fleet_up(plan) as up:
        yield up
        pids = [node.pid for node in up.pool.nodes.values()]
    assert not [pid for pid in pids if _lives(pid)]


async def working(fleet: Fleet, *zones: str, but: str = "") -> list[Node]:
    """Wait for spot nodes that are ready in each of the zones, and for none in another."""

    async def look() -> list[Node] | None:
        nodes = [one for one in await fleet.nodes.list() if one.capacity_type == "spot"]
        ready = [one for one in nodes if one.state == "ready"]
        there = set(zones) <= {one.zone for one in ready}
        return ready if there and but not in {one.zone for one in nodes} else None

    what = f"spot nodes in {zones} and none in {but!r}"
    return await eventually(look, what, bound_s=BOUND_S)


async def test_zones_go_and_come_back_and_the_deadline_is_met(fleet: Fleet) -> None:
    assert not [one for one in await fleet.nodes.list() if one.capacity_type == "spot"]
    manifest = await submit_batch(
        fleet.connection, tenant=TENANT, model=MODEL, items=ITEMS, tokens=40, window_s=WINDOW_S
    )
    # However slow the machine is, there is work while zones come and go.
    more = await submit_batch(
        fleet.connection, tenant=TENANT, model=MODEL, items=2000, tokens=40, window_s=None,
        chunk=50, name="more",
    )  # fmt: skip
    await working(fleet, "a", "b", "c")
    await fleet.market.take_away("a")
    ready = await working(fleet, "b", "c", but="a")
    fleet.market.give_back("a")
    for zone in ("b", "c"):
        await fleet.market.take_away(zone)
    await working(fleet, "a")
    batches = Batches(fleet.connection, tenant=TENANT)
    status = await finished(batches, "b")
    assert status.request_counts.completed == ITEMS
    assert manifest.deadline is not None
    assert time.time() < manifest.deadline
    assert ready
    await batches.cancel(more.id)

    async def given_back() -> bool:
        return [one.capacity_type for one in fleet.pool.running()] == ["on-demand"]

    await eventually(given_back, "the spot nodes to be given back", bound_s=BOUND_S)
    decided = await events_of(fleet.connection, PoolDecided)
    assert all(one.reasons for one in decided)
    for action in ("launched", "drained"):
        await event_of(fleet.connection, PoolActed, action=action)
    book = read_book((files("fleet") / "example_prices.toml").read_text(), name="example.toml")

    async def billed() -> Report | None:
        books = await open_books(fleet.connection, book)
        bill = report(books.accounts, books.pricing.on_demand)
        return bill if bill.nodes == len(fleet.pool.nodes) else None

    bill = await eventually(billed, "every node in the bill")
    assert sum(bill.parts[part].usd for part in PARTS) == pytest.approx(bill.bill_usd)
    assert bill.unpriced_hours == 0


async def test_on_demand_takes_over_when_no_zone_sells_spot(fleet: Fleet) -> None:
    for zone in ("a", "b", "c"):
        fleet.market.close(zone)
    manifest = await submit_batch(
        fleet.connection, tenant=TENANT, model=MODEL, items=3, tokens=20, window_s=WINDOW_S
    )
    status = await finished(Batches(fleet.connection, tenant=TENANT), "b")
    assert manifest.deadline is not None
    assert time.time() < manifest.deadline
    assert status.request_counts.completed == 3
    await event_of(fleet.connection, PoolDecided, batch_fallback=True)

    async def small_again() -> bool:
        decided = await events_of(fleet.connection, PoolDecided)
        return len(fleet.pool.running()) == 1 and not decided[-1].batch_fallback

    await eventually(small_again, "the baseline alone", bound_s=BOUND_S)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
