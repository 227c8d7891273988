"""The cost report: who pays for what, what was saved, and what interruptions cost."""

from typing import Any

import pytest

from fleet.cost import By, Report, report
from fleet.events import AnyEvent
from fleet.job import Tier
from fleet.ledger import ledger
from fleet.lives import lives
from tests.books import HOUR, T0, Machine, on_demand, priced


def made(*events: AnyEvent, by: By = "pool", known: bool = True) -> Report:
    accounts = ledger(lives(events), priced)
    return report(accounts, on_demand if known else lambda _: None, by=by)


def worked(n: Machine, hours: float, **use: Any) -> list[AnyEvent]:
    """Ten hours, of which one is start-up, `hours` are useful, and the rest is idle."""
    return [
        n.started(0), n.ready(1), n.meter(10, busy=hours), n.used(10, hours, **use),
        n.stopped(10, "command"),
    ]  # fmt: skip


def test_the_parts_sum_to_the_bill() -> None:
    got = made(*worked(Machine("a"), 5, tokens=1_000_000), *worked(Machine("b", "on-demand"), 3))
    assert got.bill_usd == pytest.approx(10 * 1.80 + 10 * 4.50)
    assert sum(part.usd for part in got.parts.values()) == pytest.approx(got.bill_usd)
    assert sum(part.share for part in got.parts.values()) == pytest.approx(1)
    assert got.parts["useful"].hours == pytest.approx(8)
    assert got.usd_per_million == pytest.approx(got.bill_usd)


def test_spot_is_compared_for_the_work_it_did_and_on_demand_with_itself() -> None:
    got = made(*worked(Machine("a"), 5), *worked(Machine("b", "on-demand"), 3))
    assert got.on_demand_usd == pytest.approx(5 * 4.50 + 45)
    assert got.saved_usd == pytest.approx(5 * 4.50 - 18)
    rows = {row.name: row.saved_usd for row in got.rows}
    assert rows == {"spot m": pytest.approx(4.5), "on-demand m": pytest.approx(0)}


def test_spot_that_idles_costs_more_than_on_demand_would_have() -> None:
    got = made(*worked(Machine("a"), 2))
    assert got.saved_usd == pytest.approx(9 - 18)
    assert got.saved_share == pytest.approx(-1)


def test_nothing_is_said_of_savings_where_the_other_price_is_not_known() -> None:
    got = made(*worked(Machine("a"), 5), known=False)
    assert (got.on_demand_usd, got.saved_usd, got.saved_share) == (None, None, None)
    assert got.rows[0].saved_usd is None
    assert made(*worked(Machine("a", "on-demand"), 5), known=False).saved_usd == 0


def test_work_that_is_not_in_the_bill_saves_nothing_and_makes_no_token_cheaper() -> None:
    events = [
        *worked(Machine("a"), 5, tokens=1_000_000),
        *worked(Machine("x"), 5, tokens=9_000_000, batch="b2"),
    ]
    paid = ledger(lives(events), lambda life: None if life.node == "x" else priced(life))
    got = report(paid, on_demand, by="batch")
    alone = made(*worked(Machine("a"), 5, tokens=1_000_000))
    assert got.unpriced_hours == pytest.approx(10)
    assert (got.on_demand_usd, got.saved_share) == (alone.on_demand_usd, alone.saved_share)
    assert got.usd_per_million == pytest.approx(alone.usd_per_million)
    assert got.output_tokens == 10_000_000
    rows = {row.name: row.usd_per_million for row in got.rows}
    assert rows["acme/b2"] is None


def test_fallback_is_the_share_of_spots_work_that_on_demand_did() -> None:
    got = made(
        *worked(Machine("a"), 6), *worked(Machine("b", "on-demand"), 2),
        *worked(Machine("c", "on-demand"), 5, tier=Tier.REALTIME),
    )  # fmt: skip
    assert got.fallback.share == pytest.approx(0.25)
    assert got.fallback.usd == pytest.approx(2 * 4.50)


def test_tenants_share_what_is_nobodys_by_the_work_done_for_them() -> None:
    n = Machine("a")
    both = [
        n.started(0), n.ready(1), n.meter(10, busy=4), n.used(10, 3, tenant="acme", tokens=30),
        n.used(10, 1, tenant="zeta", batch=None, tokens=10), n.stopped(10),
    ]  # fmt: skip
    tenants = {row.name: row for row in made(*both, by="tenant").rows}
    assert tenants["acme"].usd == pytest.approx(18 * 3 / 4)
    assert tenants["acme"].direct_usd == pytest.approx(3 * 1.80)
    assert tenants["zeta"].usd == pytest.approx(18 / 4)
    assert tenants["acme"].usd_per_million == tenants["zeta"].usd_per_million
    batches = {row.name: row.output_tokens for row in made(*both, by="batch").rows}
    assert batches == {"acme/b1": 30, "zeta/-": 10}


def test_a_pool_without_work_is_paid_for_by_nobody() -> None:
    idle = Machine("b", "on-demand")
    got = made(*worked(Machine("a"), 5), idle.started(0), idle.ready(1), idle.gone(2), by="tenant")
    assert {row.name: round(row.usd, 6) for row in got.rows} == {"acme": 18.0, "-": 9.0}


def test_days_come_in_their_order() -> None:
    n = Machine("a")
    got = made(n.started(0), n.ready(1), n.meter(60, busy=0), n.stopped(60), by="day")
    assert [(row.name, round(row.hours, 6)) for row in got.rows] == [
        ("2027-01-16", 24.0), ("2027-01-17", 24.0), ("2027-01-18", 12.0),
    ]  # fmt: skip


def test_an_interruption_costs_lost_work_an_idle_tail_and_a_new_start() -> None:
    first, second = Machine("a"), Machine("b", launched=3)
    got = made(
        first.started(0), first.ready(0), first.meter(2, busy=2, items=1), first.used(2, 1.5),
        first.draining(2), first.meter(2.5, busy=2, state="drained"), first.stopped(2.5),
        second.started(3), second.ready(3.25), second.meter(4, busy=0),
        second.stopped(4, "command"),
    )  # fmt: skip
    (end,) = got.interruptions
    assert (end.node, end.how, end.successor, end.at) == ("a", "aws", "b", T0 + 2 * HOUR)
    parts = (end.lost_s, end.drain_tail_s, end.restart_s)
    assert parts == (0.5 * HOUR, 0.5 * HOUR, 0.25 * HOUR)
    assert end.usd == got.interruptions_usd == pytest.approx(1.25 * 1.80)


def test_an_orderly_end_is_no_interruption() -> None:
    told, asked = Machine("a"), Machine("b")
    got = made(
        told.started(0), told.ready(0), told.draining(1, cause="SIGTERM", jobs=0),
        told.stopped(1, "signal"), asked.started(0), asked.ready(0),
        asked.draining(1, cause="command", jobs=3), asked.stopped(1, "command"),
    )  # fmt: skip
    assert got.interruptions == ()


def test_each_successor_follows_one_end() -> None:
    a, b, c = Machine("a"), Machine("b"), Machine("c", launched=2)
    got = made(
        a.started(0), a.ready(1), a.gone(2), b.started(0), b.ready(1), b.gone(2), c.started(2),
        c.ready(3), c.stopped(4),
    )  # fmt: skip
    assert sorted(str(end.successor) for end in got.interruptions) == ["None", "c"]


def test_a_fleet_that_never_was_costs_nothing() -> None:
    got = made()
    assert (got.bill_usd, got.usd_per_million, got.saved_share, got.rows) == (0.0, None, None, ())
