"""Money to figures: what goes out now and today, for what, what was saved and lost. Pure."""

import math
from collections.abc import Iterator, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from dashboard import units
from dashboard.model import NodeRow, fleet_rows, totals
from dashboard.snapshot import CostFact, FleetSnapshot, Spend
from fleet.cost import Report, Row

# Which parts of the bill are work that had to be done once more, or led to nothing.
_REWORK: Final = ("lost", "drain_tail", "checkpoint_stall")
# A node is costly where it makes tokens at so many times the price of the middle one.
COSTLY: Final = 2.0
_FEWEST: Final = 3
Group: TypeAlias = Literal["pool", "tenant", "batch"]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch of time. hours: of nodes. lost_usd: rework, its share of the bill beside it.

    fallback_share: of the background and batch work that ran on on-demand. None where unknown.
    unpriced_hours: of nodes whose price nobody knows; they are not in the bill.
    """

    hours: float
    usd: float | None
    usd_per_million: float | None
    saved_usd: float | None
    saved_share: float | None
    lost_usd: float | None
    lost_share: float | None
    idle_usd: float | None
    idle_share: float | None
    fallback_share: float | None
    output_tokens: int
    interruptions: int
    unpriced_hours: float


class CostLine(msgspec.Struct, frozen=True, kw_only=True):
    """What today's bill went for. usd: with its part of what is nobody's work; direct_usd: without.

    None for what was paid at a price that nobody knows.
    """

    name: str
    hours: float
    usd: float | None
    direct_usd: float | None
    items: int
    output_tokens: int
    usd_per_million: float | None
    on_demand_usd: float | None
    saved_usd: float | None


class CostView(msgspec.Struct, frozen=True, kw_only=True):
    """All that the view of costs shows. now_usd_per_hour: None where a node's price is not known.

    spend: of the window, oldest first. costly: nodes that make tokens at more than twice the price
    of the middle one of their kind, dearest first.
    """

    now_usd_per_hour: float | None
    today: Figures | None
    hour: Figures | None
    spend: tuple[Spend, ...]
    costly: tuple[NodeRow, ...]
    doubts: tuple[str, ...]


def cost_view(snapshot: FleetSnapshot, window_s: float) -> CostView:
    """Make the figures of a snapshot."""
    nodes = fleet_rows(snapshot, window_s)
    costs = snapshot.costs
    past = () if costs is None else costs.spend
    return CostView(
        now_usd_per_hour=totals(nodes).usd_per_hour,
        today=None if costs is None else figures(costs.today, costs.ends_today),
        hour=None if costs is None else figures(costs.hour, costs.ends_hour),
        spend=tuple(one for one in past if one.at >= snapshot.at - window_s),
        costly=costly(nodes),
        doubts=() if costs is None else tuple(_doubts(costs)),
    )


def cost_rows(snapshot: FleetSnapshot, by: Group = "pool") -> list[CostLine]:
    """Give what today's bill went for, dearest first."""
    costs = snapshot.costs
    if costs is None:
        return []
    rows = {"pool": costs.today.rows, "tenant": costs.tenants, "batch": costs.batches}[by]
    return [_line(row, has_gaps=costs.today.unpriced_hours > 0) for row in rows]


def _line(row: Row, *, has_gaps: bool) -> CostLine:
    """Tell a sum of nothing from one that nobody knows. has_gaps: prices of some nodes are."""
    is_known = row.usd > 0 or row.hours == 0 or not has_gaps
    return CostLine(
        name=row.name,
        hours=row.hours,
        usd=row.usd if is_known else None,
        direct_usd=row.direct_usd if is_known else None,
        items=row.items,
        output_tokens=row.output_tokens,
        usd_per_million=row.usd_per_million if is_known else None,
        on_demand_usd=row.on_demand_usd,
        saved_usd=row.saved_usd if is_known else None,
    )


def _doubts(costs: CostFact) -> Iterator[str]:
    if costs.since is not None:
        told = units.clock(costs.since)
        yield f"today counts from {told} UTC on: what happened before is too much to read"
    yield from costs.doubts


def figures(report: Report, interruptions: int) -> Figures:
    """Take what is shown out of a report."""
    lost = [report.parts[name] for name in _REWORK if name in report.parts]
    idle = report.parts.get("idle")
    has_bill = report.node_hours > report.unpriced_hours or report.node_hours == 0
    work_h = _work_h(report)
    return Figures(
        hours=report.node_hours,
        usd=report.bill_usd if has_bill else None,
        usd_per_million=report.usd_per_million if has_bill else None,
        saved_usd=report.saved_usd,
        saved_share=report.saved_share,
        lost_usd=math.fsum(part.usd for part in lost) if has_bill else None,
        lost_share=math.fsum(part.share for part in lost) if report.node_hours else None,
        idle_usd=idle.usd if idle is not None and has_bill else None,
        idle_share=idle.share if idle is not None and report.node_hours else None,
        fallback_share=report.fallback.share if work_h else None,
        output_tokens=report.output_tokens,
        interruptions=interruptions,
        unpriced_hours=report.unpriced_hours,
    )


def costly(nodes: Sequence[NodeRow]) -> tuple[NodeRow, ...]:
    """Find nodes whose tokens cost far more than those of the middle node of the same kind.

    A kind is a model and a capacity type: that on-demand is dearer than spot is no news.
    """
    kinds: dict[tuple[str, str], list[tuple[float, NodeRow]]] = {}
    for node in nodes:
        # One that loads or leaves makes few tokens by nature.
        if node.state == "ready" and node.usd_per_million is not None:
            kind = (node.model, node.capacity_type)
            kinds.setdefault(kind, []).append((node.usd_per_million, node))
    found: list[NodeRow] = []
    for priced in kinds.values():
        if len(priced) < _FEWEST:
            continue
        prices = sorted(price for price, _ in priced)
        middle = prices[(len(prices) - 1) // 2]
        found += [node for price, node in priced if price > COSTLY * middle]
    return tuple(sorted(found, key=lambda node: (-(node.usd_per_million or 0.0), node.node)))


def _work_h(report: Report) -> float:
    useful = report.parts.get("useful")
    return useful.hours if useful else 0.0
