"""Rows and totals out of heartbeats."""

from dashboard.model import node_rows, totals
from fleet.node import Node


def node(name: str, **fields: object) -> Node:
    base = {
        "node": name, "pid": 1, "host": "h", "capacity_type": "spot", "zone": "a", "model": "m",
        "engine": "vllm", "state": "ready", "started_at": 100.0, "at": 199.0,
    }  # fmt: skip
    return Node(**(base | fields))  # type: ignore[arg-type]


def test_on_demand_nodes_come_first_then_zones() -> None:
    nodes = [node("s2", zone="b"), node("s1"), node("o1", capacity_type="on-demand", zone="c")]
    assert [row.node for row in node_rows(nodes, now=200.0)] == ["o1", "s1", "s2"]


def test_a_rate_that_is_not_known_is_none_and_not_zero() -> None:
    (row,) = node_rows([node("s1")], now=200.0)
    assert row.tokens_per_s is None


def test_a_price_that_one_node_does_not_tell_leaves_the_sum_unknown() -> None:
    rows = node_rows([node("s1", price_usd_per_hour=1.8), node("s2")], now=200.0)
    assert totals(rows).usd_per_hour is None


def test_totals_add_up() -> None:
    rows = node_rows(
        [
            node("s1", price_usd_per_hour=1.8, items=2, tokens_generated=500),
            node("s2", price_usd_per_hour=4.5, items=3, state="loading"),
        ],
        now=200.0,
    )
    total = totals(rows)
    assert (total.nodes, total.ready, total.items) == (2, 1, 5)
    assert (total.tokens_per_s, total.usd_per_hour) == (5.0, 6.3)


def test_a_clock_that_runs_behind_makes_no_negative_age() -> None:
    (row,) = node_rows([node("s1", at=300.0)], now=200.0)
    assert row.beat_age_s == 0.0
