"""What the broker told, folded into what a survey says. Pure."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from fleet.broker.durables import DurableState
from fleet.errors import BrokerRefused
from fleet.job import TIERS, CapacityType, Tier
from fleet.ledger import Account, Part
from fleet.metrics.survey import NodesSeen, PoolSeen, QueueSeen, StreamSeen
from fleet.node import Node
from fleet.pool.switches import Standing
from fleet.subjects import job_stream

OTHER: Final = "other"
# More than any region has; a node says itself where it is.
MOST_ZONES: Final = 64
Spent: TypeAlias = tuple[CapacityType, str, Part]


class StreamInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A stream as the server counts it. subjects: only where they were asked for."""

    messages: int
    size_bytes: int
    last_seq: int
    max_bytes: int
    replicas: int
    subjects: dict[str, int]


def stream_info(info: Mapping[str, Any]) -> StreamInfo:
    """Read the server's word on a stream. Raises BrokerRefused."""
    try:
        state, config = info["state"], info["config"]
        return StreamInfo(
            messages=int(state["messages"]),
            size_bytes=int(state["bytes"]),
            last_seq=int(state["last_seq"]),
            max_bytes=int(config.get("max_bytes", -1)),
            replicas=int(config.get("num_replicas", 1)),
            subjects=msgspec.convert(state.get("subjects") or {}, dict[str, int]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BrokerRefused(f"the server tells of a stream what is none: {error}") from error


def stream_seen(name: str, info: StreamInfo) -> StreamSeen:
    """Say what a stream holds."""
    limit = info.max_bytes if info.max_bytes > 0 else None
    return StreamSeen(
        name=name, messages=info.messages, size_bytes=info.size_bytes, limit_bytes=limit
    )


def queue_seen(state: DurableState) -> QueueSeen:
    """Say how a durable stands."""
    return QueueSeen(
        tier=state.tier,
        model=state.model,
        exists=state.exists or not state.stored,
        waiting=state.pending if state.exists else state.stored,
        delivered=state.ack_pending,
        stuck=state.stuck if state.exists else 0,
        deliveries=state.deliveries,
        pulls=state.pulls,
        paused_s=state.paused_s,
    )


def tenant_jobs(
    infos: Mapping[str, StreamInfo], named: frozenset[str]
) -> dict[tuple[str, str], int] | None:
    """Count unfinished jobs by tier and tenant; whoever is not named is `other`."""
    counts: dict[tuple[str, str], int] = {}
    for tier in Tier:
        info = infos.get(job_stream(tier))
        for subject, jobs in (info.subjects if info else {}).items():
            tenant = subject.rpartition(".")[2]
            key = (str(tier), tenant if tenant in named else OTHER)
            counts[key] = counts.get(key, 0) + jobs
    return counts if infos else None


def dead_letters(info: StreamInfo | None) -> dict[str, int] | None:
    """Count dead letters by tier; those of a tier that is none are `other`."""
    if info is None:
        return None
    counts = dict.fromkeys((*TIERS, OTHER), 0)
    for subject, letters in info.subjects.items():
        tier = (*subject.split("."), "", "")[1]
        counts[tier if tier in TIERS else OTHER] += letters
    return counts


def nodes_seen(nodes: Iterable[Node], models: Collection[str]) -> tuple[NodesSeen, ...]:
    """Count nodes by kind. A node says itself what it is, so kinds are bounded."""
    kinds: dict[tuple[str, ...], list[Node]] = {}
    zones: set[str] = set()
    for node in nodes:
        if len(zones) < MOST_ZONES:
            zones.add(node.zone)
        zone = node.zone if node.zone in zones else OTHER
        model = node.model if node.model in models else OTHER
        kinds.setdefault((node.capacity_type, model, zone, node.state), []).append(node)
    return tuple(
        NodesSeen(
            capacity_type=each[0].capacity_type,
            model=kind[1],
            zone=kind[2],
            state=each[0].state,
            nodes=len(each),
            slots=sum(node.slots for node in each),
            items=sum(node.items for node in each),
            usd_per_hour=sum(node.price_usd_per_hour or 0.0 for node in each),
            unpriced=sum(node.price_usd_per_hour is None for node in each),
        )
        for kind, each in kinds.items()
    )


def pool_seen(standing: Standing) -> PoolSeen:
    """Say how a pool stands."""
    decision, figures = standing.decision, standing.decision.figures
    return PoolSeen(
        model=standing.model,
        decided_at=standing.at,
        spot=decision.spot,
        fallback=decision.fallback,
        realtime=decision.realtime,
        held_spot=figures.held_spot,
        held_on_demand=figures.held_on_demand,
        machines=standing.machines,
        open_batches=standing.open_batches,
        at_risk=standing.at_risk,
        batch_fallback=decision.batch_fallback,
        carries_out=decision.carry_out,
        troubles=len(standing.troubles),
        budget_usd_per_hour=standing.knobs.budget_usd_per_h,
        priced_at=tuple(
            (zone.name, zone.priced_at) for zone in standing.zones if zone.priced_at is not None
        ),
    )


def spent(accounts: Iterable[Account]) -> tuple[tuple[CapacityType, str, Part, float], ...]:
    """Sum up what was spent where prices are known: by capacity type, model and what for."""
    sums: dict[Spent, float] = {}
    for account in accounts:
        for entry in account.entries if account.usd is not None else ():
            key = (account.life.capacity_type, account.life.model, entry.part)
            sums[key] = sums.get(key, 0.0) + entry.usd
    return tuple((*key, usd) for key, usd in sums.items())
