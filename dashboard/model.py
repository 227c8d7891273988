"""Heartbeats to rows and totals, as every view of the fleet shows them. Pure.

What is not known is None here and a dash on the screen, never 0.
"""

from collections.abc import Iterable, Sequence

import msgspec

from fleet.node import Node


class NodeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One node. beat_age_s: since its last heartbeat; up_s: since its start; rates a second.

    tokens_per_s: over its whole life, None while it has none. notice: who gave it notice, or "".
    leaves_in_s: until it is expected to vanish.
    """

    node: str
    state: str
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


class FleetTotals(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet in one line. usd_per_hour: None where the price of any node is not known."""

    nodes: int
    ready: int
    items: int
    tokens_per_s: float
    usd_per_hour: float | None


def node_rows(nodes: Iterable[Node], *, now: float) -> list[NodeRow]:
    """Make a row of each heartbeat, on-demand first, then by zone and name."""
    order = sorted(nodes, key=lambda n: (n.capacity_type, n.zone, n.node))
    return [_row(node, now) for node in order]


def totals(rows: Sequence[NodeRow]) -> FleetTotals:
    """Add the rows up."""
    prices = [row.price_usd_per_hour for row in rows]
    known = [price for price in prices if price is not None]
    return FleetTotals(
        nodes=len(rows),
        ready=sum(row.state == "ready" for row in rows),
        items=sum(row.items for row in rows),
        tokens_per_s=sum(row.tokens_per_s or 0.0 for row in rows),
        usd_per_hour=sum(known) if rows and len(known) == len(prices) else None,
    )


def _row(node: Node, now: float) -> NodeRow:
    up_s = max(0.0, now - node.started_at)
    return NodeRow(
        node=node.node,
        state=node.state,
        capacity_type=node.capacity_type,
        zone=node.zone,
        model=node.model,
        engine=node.engine,
        jobs=node.jobs,
        items=node.items,
        slots=node.slots,
        tokens_generated=node.tokens_generated,
        tokens_per_s=node.tokens_generated / up_s if node.tokens_generated and up_s else None,
        up_s=up_s,
        beat_age_s=max(0.0, now - node.at),
        price_usd_per_hour=node.price_usd_per_hour,
        notice=node.notice,
        leaves_in_s=None if node.leaves_at is None else max(0.0, node.leaves_at - now),
    )
