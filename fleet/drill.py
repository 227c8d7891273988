"""A drill: which interruption, whom it may hit, and what counts as having come through it. Pure."""

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from fleet.control import DrainOrder, HurtOrder, Order
from fleet.errors import NotFound, UsageError
from fleet.node import Node
from fleet.subjects import shown

Kind: TypeAlias = Literal["aws", "gcp", "azure", "kill", "freeze", "zone", "server"]
# Seconds between notice and end: AWS spot interruption notices come two minutes before, Google
# preempts and Azure evicts thirty seconds after theirs (the clouds' documentation).
NOTICES_S: Final[dict[Kind, float]] = {"aws": 120.0, "gcp": 30.0, "azure": 30.0}
# How soon work has to go on: behind the ack wait; behind the release; behind the broker's return.
AFTER_ACK_WAIT_S: Final = 2.0
AFTER_RELEASE_S: Final = 0.5
AFTER_SERVER_S: Final = 5.0
# A write takes its time, and the node goes on meanwhile.
UNSAVED_MORE_S: Final = 1.0
# Longer than the lease, so that another node has the job when the frozen one comes back.
FREEZE_MORE_S: Final = 5.0


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """A probe that went on at another node.

    after_s: since the blow for who was hit, since the release for who had notice. unsaved_s: how
    long before the blow its progress was saved last. items: how many of it ran then.
    """

    job: str
    by: str
    released: bool
    after_s: float
    unsaved_s: float
    items: int


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen. jobs, items: of the drill's own probes. pace: tokens a second of one item.

    lost, doubled, failed: items without a line, with more than one, with an error. open: jobs that
    had not ended when the time was up. back_s: until the broker answered again, None where it never
    was away; recovered_s: from then until every node beat again. idle_s: seconds for which frozen
    nodes were paid. slots, price_usd_per_hour: of one victim.
    """

    kind: Kind
    nodes: tuple[str, ...]
    jobs: int
    items: int
    lost: int
    doubled: int
    failed: int
    open: int
    taken: tuple[Taken, ...]
    pace: float
    slots: int
    ack_wait_s: float
    checkpoint_s: float
    back_s: float | None = None
    recovered_s: float | None = None
    idle_s: float = 0.0
    price_usd_per_hour: float | None = None


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that had to hold. value: None where it did not come to it. most: the bound."""

    name: str
    value: float | None
    most: float
    passed: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a drill.

    went_on_s: until work went on elsewhere, the longest of the probes; None where no node took over
    anything, for all was finished in time. tokens_again: generated twice, by the probes' own pace.
    cost_usd: of those, and of frozen nodes; None without a price.
    """

    kind: Kind
    nodes: tuple[str, ...]
    passed: bool
    jobs: int
    items: int
    lost: int
    doubled: int
    tokens_again: int
    went_on_s: float | None
    cost_usd: float | None
    checks: tuple[Check, ...]


def victims(
    nodes: Sequence[Node],
    kind: Kind,
    *,
    node: str | None = None,
    zone: str | None = None,
    on_demand: bool = False,
) -> tuple[Node, ...]:
    """Choose who is hit: a node by name or the busiest, or all of a zone.

    For a broker that is hit: none. Raises NotFound where there is nobody, UsageError where a
    guard rail stands in the way.
    """
    if kind == "server":
        return ()
    types = {"spot", "on-demand"} if on_demand else {"spot"}
    if kind == "zone":
        hit = [n for n in nodes if n.zone == zone]
        if not hit:
            zones = ", ".join(sorted({n.zone for n in nodes if n.zone})) or "none"
            raise NotFound(f"no node is in zone {shown(zone or '')}; zones with nodes: {zones}")
        hit = [n for n in hit if n.capacity_type in types]
    elif node is not None:
        hit = [n for n in nodes if n.node == node]
        if not hit:
            raise NotFound(f"no node {shown(node)} is alive: `fleet nodes` lists those that are")
    else:
        ready = [n for n in nodes if n.state == "ready" and n.capacity_type in types]
        hit = sorted(ready, key=lambda n: (-n.items, n.node))[:1]
    _check_rails(nodes, hit, types)
    return tuple(hit)


def _check_rails(nodes: Sequence[Node], hit: Sequence[Node], types: set[str]) -> None:
    if not hit:
        raise UsageError(
            "there is no spot node that could be hit: on-demand nodes serve people who wait, and "
            "are only hit with --on-demand"
        )
    for one in hit:
        if one.capacity_type not in types:
            raise UsageError(
                f"{one.node} is on-demand and serves people who wait: --on-demand says that it may "
                "be hit all the same"
            )
        if one.state != "ready":
            raise UsageError(f"{one.node} is {one.state}: a drill hits who works; wait, or name "
                             "another node")  # fmt: skip
    names = {one.node for one in hit}
    for role in {(one.model, one.capacity_type) for one in hit}:
        others = [n for n in nodes if n.node not in names and n.state == "ready"]
        if not any((n.model, n.capacity_type) == role for n in others):
            raise UsageError(
                f"no other {role[1]} node with {role[0]} is ready: nobody could go on with the "
                "work; add one first"
            )


def order_of(kind: Kind, *, left_s: float | None, ack_wait_s: float) -> Order:
    """Say it to a node. left_s: of a notice, instead of what the cloud gives."""
    if kind in NOTICES_S:
        left_s = NOTICES_S[kind] if left_s is None else left_s
        return DrainOrder(left_s=left_s, source="drill", provider=kind)
    if kind == "freeze":
        return HurtOrder(how="freeze", for_s=ack_wait_s + FREEZE_MORE_S)
    return HurtOrder(how="kill")


def judge(facts: Facts) -> Report:
    """Hold what was seen against what was promised."""
    unsaved = [one for one in facts.taken if not one.released]
    away_s = facts.back_s or 0.0
    again = round(facts.pace * sum((one.unsaved_s + away_s) * one.items for one in unsaved))
    waits = [one.after_s for one in facts.taken]
    went_on_s = max(waits, default=None)
    checks = [
        _at_most("items lost", facts.lost, 0),
        _at_most("items doubled", facts.doubled, 0),
        _at_most("items failed", facts.failed, 0),
        _at_most("jobs not ended in time", facts.open, 0),
        *_waits(facts, went_on_s),
        _at_most("tokens again", again, _most_again(facts, unsaved)),
    ]
    return Report(
        kind=facts.kind,
        nodes=facts.nodes,
        passed=all(check.passed for check in checks),
        jobs=facts.jobs,
        items=facts.items,
        lost=facts.lost,
        doubled=facts.doubled,
        tokens_again=again,
        went_on_s=facts.recovered_s if facts.kind == "server" else went_on_s,
        cost_usd=_cost(facts, again),
        checks=tuple(checks),
    )


def _waits(facts: Facts, went_on_s: float | None) -> Sequence[Check]:
    if facts.kind == "server":
        name = "seconds from the broker's return until all nodes beat"
        return [_reached(name, facts.recovered_s, AFTER_SERVER_S)]
    if facts.kind in NOTICES_S:
        # What is finished in time needs nobody else.
        name = "seconds from release to take-over"
        return [] if went_on_s is None else [_at_most(name, went_on_s, AFTER_RELEASE_S)]
    return [_reached("seconds until work went on", went_on_s, facts.ack_wait_s + AFTER_ACK_WAIT_S)]


def _most_again(facts: Facts, unsaved: Sequence[Taken]) -> float:
    """Bound it as promised: a notice costs nothing, a blow at most one interval of each item."""
    if facts.kind in NOTICES_S:
        return 0
    most_s = facts.checkpoint_s + UNSAVED_MORE_S + (facts.back_s or 0.0)
    return facts.pace * most_s * sum(one.items for one in unsaved)


def _cost(facts: Facts, again: float) -> float | None:
    if facts.price_usd_per_hour is None:
        return None
    rework_s = again / (facts.pace * facts.slots) if facts.pace and facts.slots else 0.0
    return facts.price_usd_per_hour * (rework_s + facts.idle_s) / 3600


def _at_most(name: str, value: float, most: float) -> Check:
    return Check(name=name, value=value, most=most, passed=value <= most)


def _reached(name: str, value: float | None, most: float) -> Check:
    return Check(name=name, value=value, most=most, passed=value is not None and value <= most)
