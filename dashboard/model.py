"""Heartbeats to rows and totals, as every view of the fleet shows them. Pure.

What is not known is None here and a dash on the screen, never 0.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from dashboard.memo import once
from dashboard.snapshot import FleetSnapshot, NodeFact
from fleet.node import Node, NodeState

# lost: its heartbeats ended without a word.
State: TypeAlias = NodeState | Literal["lost"]
# A row whose last news is older says so: nodes beat every second.
STALE_S: Final = 10.0
HOUR_S: Final = 3600.0


class NodeRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One node. beat_age_s: since its last heartbeat; up_s: since its start; rates a second.

    tokens_per_s: over the window, or its whole life where none is named; None while it has none.
    notice: who gave it notice, or "". leaves_in_s: until it is expected to vanish. kv_cache: share
    of 0 to 1 that is in use. usd_per_million: what its output tokens cost at its rate and price;
    is_costly: far more than those of others.
    """

    node: str
    state: State
    capacity_type: str
    zone: str
    model: str
    engine: str
    jobs: int
    items: int
    slots: int
    tokens_generated: int
    tokens_per_s: float | None
    up_s: float
    beat_age_s: float
    price_usd_per_hour: float | None
    notice: str = ""
    leaves_in_s: float | None = None
    instance_type: str = ""
    kv_cache: float | None = None
    usd_per_million: float | None = None
    is_stale: bool = False
    is_costly: bool = False
    how: str = ""


class FleetTotals(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet in one line. usd_per_hour: None where the price of any node is not known.

    leaving: under notice. lost: gone without a word; no sum counts them.
    """

    nodes: int
    ready: int
    items: int
    tokens_per_s: float
    usd_per_hour: float | None
    leaving: int = 0
    lost: int = 0


@once
def fleet_rows(snapshot: FleetSnapshot, window_s: float) -> list[NodeRow]:
    """Make a row of each node; on-demand first, then by zone and name."""
    order = sorted(snapshot.nodes, key=lambda fact: _place(fact.node))
    return [_fact_row(fact, snapshot.at, window_s) for fact in order]


def node_rows(nodes: Iterable[Node], *, now: float) -> list[NodeRow]:
    """Make a row of each heartbeat, in the same order, with rates over a node's whole life."""
    return [_life_row(node, now) for node in sorted(nodes, key=_place)]


def totals(rows: Sequence[NodeRow]) -> FleetTotals:
    """Add the rows up."""
    alive = [row for row in rows if row.state != "lost"]
    prices = [row.price_usd_per_hour for row in alive]
    known = [price for price in prices if price is not None]
    return FleetTotals(
        nodes=len(alive),
        ready=sum(row.state == "ready" for row in alive),
        items=sum(row.items for row in alive),
        tokens_per_s=sum(row.tokens_per_s or 0.0 for row in alive),
        usd_per_hour=sum(known) if alive and len(known) == len(prices) else None,
        leaving=sum(row.leaves_in_s is not None or bool(row.notice) for row in alive),
        lost=len(rows) - len(alive),
    )


def _place(node: Node) -> tuple[str, str, str]:
    return node.capacity_type, node.zone, node.node


def _fact_row(fact: NodeFact, now: float, window_s: float) -> NodeRow:
    age_s = max(0.0, now - fact.heard_at)
    if fact.lost_at is not None:
        return _row(fact.node, now, rate=None, age_s=age_s, is_lost=True, how=fact.how)
    rate = fact.tokens_per_s.over(window_s)
    return _row(fact.node, now, rate=rate, age_s=age_s, how=fact.how)


def _life_row(node: Node, now: float) -> NodeRow:
    up_s = max(0.0, now - node.started_at)
    rate = node.tokens_generated / up_s if node.tokens_generated and up_s else None
    return _row(node, now, rate=rate, age_s=max(0.0, now - node.at), can_be_stale=False)


def _row(
    node: Node, now: float, *, rate: float | None, age_s: float,
    is_lost: bool = False, can_be_stale: bool = True, how: str = "",
) -> NodeRow:  # fmt: skip
    return NodeRow(
        node=node.node,
        state="lost" if is_lost else node.state,
        capacity_type=node.capacity_type,
        zone=node.zone,
        model=node.model,
        engine=node.engine,
        jobs=node.jobs,
        items=node.items,
        slots=node.slots,
        tokens_generated=node.tokens_generated,
        tokens_per_s=rate,
        up_s=max(0.0, now - node.started_at),
        beat_age_s=age_s,
        price_usd_per_hour=node.price_usd_per_hour,
        notice=node.notice,
        leaves_in_s=None if node.leaves_at is None else max(0.0, node.leaves_at - now),
        instance_type=node.instance_type,
        kv_cache=node.kv_cache,
        usd_per_million=None if is_lost else _per_million(node.price_usd_per_hour, rate),
        is_stale=is_lost or (can_be_stale and age_s > STALE_S),
        how=how,
    )


def _per_million(usd_per_hour: float | None, tokens_per_s: float | None) -> float | None:
    if usd_per_hour is None or not tokens_per_s:
        return None
    return usd_per_hour / (tokens_per_s * HOUR_S) * 1e6
