"""A snapshot in a few numbers, for the pictures of the past. Pure."""

from dashboard.queue_rows import total
from dashboard.snapshot import WINDOWS_S, FleetSnapshot, Moment


def moment(snapshot: FleetSnapshot) -> Moment:
    """Sum a snapshot up; None for what was not read."""
    nodes = [fact for fact in snapshot.nodes if fact.lost_at is None]
    has_nodes, has_queues = "nodes" in snapshot.read_at, "queues" in snapshot.read_at
    rates = [fact.tokens_per_s.over(WINDOWS_S[0]) for fact in nodes]
    known = [rate for rate in rates if rate is not None]
    prices = [fact.node.price_usd_per_hour for fact in nodes]
    priced = [price for price in prices if price is not None]
    return Moment(
        at=snapshot.at,
        nodes=len(nodes) if has_nodes else None,
        items=sum(fact.node.items for fact in nodes) if has_nodes else None,
        waiting=total(queue.waiting for queue in snapshot.queues) if has_queues else None,
        in_flight=total(queue.in_flight for queue in snapshot.queues) if has_queues else None,
        tokens_per_s=sum(known) if known else None,
        usd_per_hour=sum(priced) if priced and len(priced) == len(prices) else None,
    )
