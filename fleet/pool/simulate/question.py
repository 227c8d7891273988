"""A what-if from its question to its answer: market, work, all policies, and the bound."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import msgspec

from fleet.pool.knobs import Knobs, Tuning
from fleet.pool.simulate.arrivals import arrivals
from fleet.pool.simulate.compare import Run, compare
from fleet.pool.simulate.generator import MADE_FOR, generate
from fleet.pool.simulate.market import Market, cut, factor_for, scaled
from fleet.pool.simulate.outcome import Outcome
from fleet.pool.simulate.recorded import Past
from fleet.pool.simulate.traces import read
from fleet.pool.simulate.world import Rules

DAY_S = 86_400.0


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked. Lengths are in seconds, but for `days` and `from_day`.

    traces, prices: a recorded market; without, `market` names one that is made up. days: how much
    of a recording is used, None for all; how much is made up, None for 15. scale: of counts, None
    for enough. on_demand_usd: of a node-hour, None for what is recorded. load: nodes that the
    batches keep busy on average; every: between two of them.
    """

    traces: Path | None = None
    prices: Path | None = None
    market: str = "v100"
    window: float = DAY_S
    seed: int = 1
    days: float | None = None
    from_day: float = 0.0
    scale: int | None = None
    price_ratio: float = 2.5
    on_demand_usd: float | None = None
    load: float = 6.0
    every: float = 7200.0
    startup: float = 600.0
    lost: float = 60.0
    job: float = 30.0
    most_spot: int = 18
    most_on_demand: int = 40


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """Of the cheapest plan with hindsight. cost_ratio: None where there is no plan, or no SciPy."""

    cost_ratio: float | None


class About(msgspec.Struct, frozen=True, kw_only=True):
    """The market that was used."""

    name: str
    zones: int
    days: float
    on_demand_usd: float
    notes: tuple[str, ...]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What all policies come to."""

    policies: Mapping[str, Outcome]
    bound: Bound
    market: About
    question: Question


def ask(
    question: Question,
    *,
    past: Past | None = None,
    on_run: Callable[[str], None] = lambda _: None,
) -> tuple[Answer, Mapping[str, Run]]:
    """Run all policies, told to `on_run` one by one; return the answer, and how they got there.

    past: instead of a market that is read or made up, and of batches at random. Raises UsageError
    for a market that cannot be read, or has no room for any batch.
    """
    market, work = past or _market_and_work(question)
    load = sum(one.work_s for one in work) / market.horizon_s if past else question.load
    # A pool of thousands may be launched faster than one of ten.
    per_tick = max(Tuning().launches_per_tick, question.most_spot // 10)
    knobs = Knobs(
        most_spot=question.most_spot,
        most_on_demand=question.most_on_demand,
        tuning=Tuning(launches_per_tick=per_tick),
    )
    rules = Rules(startup_s=question.startup, lost_s=question.lost, item_s=question.job)
    runs = compare(market, work, knobs=knobs, rules=rules, mean_nodes=load, on_run=on_run)
    answer = Answer(
        policies={name: run.outcome for name, run in runs.items()},
        bound=Bound(cost_ratio=None),
        market=About(
            name=market.name,
            zones=len(market.zones),
            days=market.horizon_s / DAY_S,
            on_demand_usd=market.on_demand_usd,
            notes=market.notes,
        ),
        question=question,
    )
    if can_bound():
        from fleet.pool.simulate.bound import bound  # noqa: PLC0415 - SciPy is an extra

        ratio = bound(market, work, knobs)
        answer = msgspec.structs.replace(answer, bound=Bound(cost_ratio=ratio))
    return answer, runs


def can_bound() -> bool:
    """Whether SciPy is there, without which there is no bound."""
    return find_spec("scipy") is not None


def _market_and_work(question: Question) -> Past:
    market = _market(question)
    work = arrivals(
        horizon_s=market.horizon_s,
        mean_nodes=question.load,
        window_s=question.window,
        every_s=question.every,
        seed=question.seed,
    )
    return Past(market, work)


def _market(question: Question) -> Market:
    if question.traces is None:
        days = 15 if question.days is None else question.days
        market = generate(question.market, horizon_s=days * DAY_S, seed=question.seed)
        enough = max(1, round(question.load / MADE_FOR))
    else:
        market = read(
            question.traces,
            prices=question.prices,
            price_ratio=question.price_ratio,
            on_demand_usd=question.on_demand_usd,
        )
        for_s = None if question.days is None else question.days * DAY_S
        market = cut(market, from_s=question.from_day * DAY_S, for_s=for_s)
        enough = factor_for(market, question.most_spot)
    return scaled(market, question.scale or enough)
