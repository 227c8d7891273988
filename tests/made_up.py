"""Snapshots that were never a fleet's: any size, always the same for a seed."""

import random
from collections.abc import Callable

from dashboard.snapshot import (
    BatchFact,
    EventFact,
    FleetSnapshot,
    History,
    JobFact,
    JobState,
    Moment,
    NodeFact,
    PoolFact,
    QueueFact,
    Rates,
    TenantQueue,
)
from fleet.events import (
    AnyEvent,
    JobDead,
    JobRetried,
    JobTakenOver,
    NodeDraining,
    NodeGone,
    NodeReady,
    PoolDecided,
)
from fleet.job import Tier
from fleet.node import Node, NodeState
from tests.made_up_costs import made_up_costs

NOW = 1_800_000_000.0
MODELS = ("smollm2", "qwen3-32b", "llama-70b", "e5-large")
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
TENANTS = ("acme", "globex", "initech", "umbrella", "hooli")
Say = Callable[[str], str]


def snapshot(
    *,
    seed: int = 1,
    nodes: int = 12,
    queues: int = 9,
    jobs: int = 40,
    batches: int = 6,
    events: int = 30,
    at: float = NOW,
    say: Say = lambda text: text,
) -> FleetSnapshot:
    """Make a fleet up. queues: rows of tier, model and tenant. say: turns every foreign string."""
    dice = random.Random(seed)
    names = [f"node-{number:04}" for number in range(nodes)]
    return FleetSnapshot(
        at=at,
        source=say("made up"),
        read_at={
            "nodes": at - 0.4, "queues": at - 0.8, "jobs": at - 3.1, "batches": at - 0.9,
            "pools": at - 2.0, "costs": at - 11.0, "events": at - 0.2,
        },
        nodes=tuple(_node(dice, n, name, at, say) for n, name in enumerate(names)),
        queues=_queues(dice, queues, at, say),
        jobs=tuple(_job(dice, n, names, at, say) for n in range(jobs)),
        jobs_in_all=jobs + jobs // 2,
        batches=tuple(_batch(dice, n, at, say) for n in range(batches)),
        pools=tuple(_pool(dice, model, at, say) for model in MODELS[:2]),
        costs=made_up_costs(dice, at, say),
        events=tuple(
            EventFact(n + 1, _event(dice, names, at - (events - n) * 7.0, say))
            for n in range(events)
        ),
        history=_history(dice, at),
    )  # fmt: skip


def _rates(dice: random.Random, about: float) -> Rates:
    return Rates(*(about * dice.uniform(0.8, 1.2) for _ in range(3)))


def _node(dice: random.Random, number: int, name: str, at: float, say: Say) -> NodeFact:
    spot = number % 4 != 0
    lost = number % 50 == 7
    leaving = number % 12 == 5
    state: NodeState = "draining" if leaving else "loading" if number % 11 == 10 else "ready"
    slots = 8
    items = 0 if state == "loading" else dice.randint(2, slots)
    # One of them makes tokens at four times the price of the others.
    pace = 45.0 if number == 3 else 180.0
    node = Node(
        node=say(name),
        pid=1000 + number,
        host=say(f"ip-10-0-{number // 250}-{number % 250}"),
        capacity_type="spot" if spot else "on-demand",
        zone=say(ZONES[number % 3]),
        model=say(MODELS[number // 7 % 2]),
        engine=say("vllm 0.33.0"),
        state=state,
        started_at=at - dice.uniform(120, 20_000),
        at=at - dice.uniform(0.1, 0.9),
        jobs=items,
        items=items,
        slots=slots,
        tokens_generated=dice.randint(1_000, 3_000_000),
        items_done=dice.randint(10, 5_000),
        price_usd_per_hour=0.36 if spot else 1.01,
        notice=say("aws") if leaving else "",
        leaves_at=at + 74.0 if leaving else None,
        instance_type=say("g6.xlarge"),
        kv_cache=None if state == "loading" else dice.uniform(0.1, 0.95),
    )
    rates = Rates() if state == "loading" else _rates(dice, pace)
    if lost:
        return NodeFact(
            node=node, heard_at=at - 43, tokens_per_s=rates, lost_at=at - 39, how=say("vanished")
        )
    return NodeFact(node=node, heard_at=node.at, tokens_per_s=rates)


def _queues(dice: random.Random, rows: int, at: float, say: Say) -> tuple[QueueFact, ...]:
    tiers = tuple(Tier)
    wanted = [
        (tiers[n % 3], f"{MODELS[n // 3 % 4]}{n // 60 or ''}", f"{TENANTS[n // 12 % 5]}")
        for n in range(rows)
    ]
    found: dict[tuple[Tier, str], dict[str, TenantQueue]] = {}
    for tier, model, tenant in wanted:
        stored = dice.randint(0, 4000) if tier is Tier.BATCH else dice.randint(0, 12)
        waiting = max(0, stored - dice.randint(0, 40))
        found.setdefault((tier, model), {})[tenant] = TenantQueue(
            tenant=say(tenant),
            stored=stored,
            waiting=waiting,
            oldest_at=at - dice.uniform(1, 900) if stored else None,
            jobs_per_s=_rates(dice, 2.0),
            dead=dice.choice((0, 0, 0, 3)),
        )
    return tuple(
        QueueFact(
            tier=tier,
            model=say(model),
            waiting=sum(one.waiting or 0 for one in tenants.values()),
            in_flight=sum(one.stored - (one.waiting or 0) for one in tenants.values()),
            redelivered=dice.randint(0, 3),
            stuck=0,
            paused_s=240.0 if place == 4 else 0.0,
            tenants=tuple(tenants.values()),
        )
        for place, ((tier, model), tenants) in enumerate(found.items())
    )


def _job(dice: random.Random, number: int, nodes: list[str], at: float, say: Say) -> JobFact:
    tier = tuple(Tier)[number % 3]
    states: tuple[JobState, ...] = ("held", "held", "between", "waiting", "waiting")
    state = states[number % 5]
    items = dice.choice((1, 1, 16, 100))
    has_node = state != "waiting" and bool(nodes)
    stuck = number == 6
    return JobFact(
        tier=tier,
        model=say(MODELS[number % 2]),
        tenant=say(TENANTS[number % 5]),
        job=say(f"job-{number:06}"),
        sequence=number + 1,
        queued_at=at - (2_400 if stuck else dice.uniform(1, 900)),
        state="held" if stuck else state,
        batch=say(f"nightly-{number % 6}") if tier is Tier.BATCH else None,
        items=items,
        items_done=dice.randint(0, items) if has_node else None,
        tokens_saved=dice.randint(0, 2_000) if has_node else 0,
        node=say(dice.choice(nodes)) if has_node else None,
        attempts=2 if number % 13 == 8 else 0,
        interruptions=dice.choice((0, 0, 0, 1, 3)) if has_node else 0,
        checkpoint_at=at - (1_900 if stuck else dice.uniform(0.2, 5)) if has_node else None,
        deadline=at + dice.uniform(20, 300) if tier is Tier.REALTIME else None,
        error=say("engine: request aborted") if number % 13 == 8 else "",
    )


def _batch(dice: random.Random, number: int, at: float, say: Say) -> BatchFact:
    items = dice.choice((1_000, 20_000, 50_000))
    done = dice.randint(0, items)
    return BatchFact(
        tenant=say(TENANTS[number % 5]),
        batch=say(f"nightly-{number}"),
        model=say(MODELS[number % 2]),
        tier=Tier.BATCH,
        state="completed" if number % 6 == 5 else "submitted",
        created_at=at - dice.uniform(600, 30_000),
        jobs=items // 100,
        items=items,
        submitted_jobs=items // 100,
        deadline=at + dice.uniform(600, 60_000) if number % 2 else None,
        done=items if number % 6 == 5 else done,
        failed=dice.choice((0, 0, 12)),
        items_per_s=_rates(dice, 4.0),
        interruptions=dice.randint(0, 9),
        at_risk=say("its deadline is at risk: 2.40 nodes too few, 12 min late")
        if number == 1
        else "",
    )


def _pool(dice: random.Random, model: str, at: float, say: Say) -> PoolFact:
    return PoolFact(
        model=say(model),
        at=at - 2.0,
        by=say("manager-1"),
        spot=dice.randint(3, 20),
        fallback=1,
        realtime=2,
        batch_fallback=True,
        reasons=(say("spot counts for K = 4.20 nodes, r = 6.90: O = 1"),),
    )


def _event(dice: random.Random, nodes: list[str], at: float, say: Say) -> AnyEvent:
    node = say(dice.choice(nodes) if nodes else "-")
    tenant, job = say("acme"), say(f"job-{dice.randint(0, 99):06}")
    choices: tuple[AnyEvent, ...] = (
        NodeReady(at=at, node=node, load_s=41.2),
        NodeDraining(
            at=at, node=node, cause=say("aws"), left_s=117.0, jobs=6, items_to_finish=2,
            items_to_save=4,
        ),
        NodeGone(at=at, node=node, cause=say("reclaimed")),
        JobTakenOver(
            at=at, node=node, tenant=tenant, job=job, model=say("smollm2"), tier=Tier.BATCH,
            from_node=node, released=dice.random() < 0.5, items_done=12, tokens_saved=431,
        ),
        JobRetried(
            at=at, node=node, tenant=tenant, job=job, attempts=2, code="engine_error",
            reason=say("request aborted"), delay_s=2.0,
        ),
        JobDead(
            at=at, node=node, tenant=tenant, job=job, code="invalid_body",
            reason=say("temprature is no field of a request"),
        ),
        PoolDecided(
            at=at, node=say("manager-1"), model=say("smollm2"), spot=9, fallback=1, realtime=2,
            batch_fallback=True, reasons=(say("two zones are cooling off"),),
        ),
    )  # fmt: skip
    return dice.choice(choices)


def _history(dice: random.Random, at: float) -> History:
    def moments(step_s: float) -> tuple[Moment, ...]:
        return tuple(
            Moment(
                at=at - step_s * (60 - n), nodes=12, items=60 + dice.randint(0, 20),
                waiting=4_000 - 40 * n, in_flight=70, tokens_per_s=1_500 + dice.uniform(-200, 200),
                usd_per_hour=5.4,
            )
            for n in range(60)
        )  # fmt: skip

    return History(minute=moments(1.0), five=moments(5.0), hour=moments(60.0))
