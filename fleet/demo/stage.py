"""The demonstration from curtain to audit."""

import time
from collections import Counter

from fleet.accounts import open_books
from fleet.broker.connection import Connection
from fleet.cost import Report, report
from fleet.demo.audit import Audit, count_lines, delivered
from fleet.demo.leftovers import left_behind
from fleet.demo.play import Bar, Play, Say
from fleet.events import NodeStopped
from fleet.job import ResultLine, Tier
from fleet.pool.fleet_plan import Ended, FleetPlan, Replaced, Started
from fleet.pool.fleet_up import fleet_up
from fleet.prices import PriceBook


async def perform(plan: FleetPlan, *, say: Say, bar: Bar) -> Audit:
    """Bring the fleet up, play, take it down, and audit. Raises FleetError where the play stops.

    say: told what happens. bar: told how far something is, by name.
    """

    def changed(change: Ended | Replaced | Started) -> None:
        name = change.node.node
        match change:
            case Ended():
                if change.failed:
                    say(f"{name} failed; its last words: {change.last_words}")
            case Replaced(by=other):
                say(f"{other.node} takes the place of {name} and loads its engine")
            case Started():
                say(f"{name} loads its engine")

    def ready(done: int, total: int) -> None:
        bar("engines that are up", done, total)

    async with fleet_up(plan, on_change=changed, on_ready=ready) as fleet:
        say("the fleet is up: " + ", ".join(node.node for node in fleet.pool.running()))
        say(f"watch it from a second terminal: fleet top --nats {fleet.nats}")
        play = Play(fleet, model=plan.model, say=say, bar=bar)
        await play.run()
        ledger = await _ledger(fleet.connection)
    left = left_behind(node.pid for node in fleet.pool.nodes.values())
    return _audit(play, plan, ledger, left)


async def _ledger(connection: Connection) -> Report:
    """Say what the fleet was paid for until now. Raises ProcessError if it is not the bill."""
    # Every node was told its price.
    books = await open_books(connection, PriceBook({}, dated=time.time()))
    return report(books.accounts, books.pricing.on_demand)


def _audit(play: Play, plan: FleetPlan, ledger: Report, left: tuple[int, ...]) -> Audit:
    counts = count_lines(play.lines)
    realtime, background = (play.traffic.answers[t] for t in (Tier.REALTIME, Tier.BACKGROUND))
    again = [other for _, other in play.undisturbed]
    tokens = delivered([*play.lines, *realtime, *background, *again])
    made = {name: node.tokens_generated for name, node in play.watcher.beats.items()}
    made |= {event.node: event.tokens_generated for event in play.watcher.of(NodeStopped)}
    items = sum(manifest.items for manifest in play.manifests)
    return Audit(
        engine=plan.engine,
        items=items,
        missing=items - len(counts),
        doubled=sum(count - 1 for count in counts.values()),
        failed=sum(line.error is not None for line in [*play.lines, *realtime, *background]),
        interrupted=dict(Counter(line.fleet.resumed for line, _ in play.undisturbed)),
        compared=len(play.undisturbed),
        wrong=sum(_texts(line) != _texts(other) for line, other in play.undisturbed),
        tokens_delivered=tokens,
        tokens_generated=sum(made.values()),
        tokens_again=max(0, sum(made.values()) - tokens),
        interruptions=tuple(play.interruptions),
        realtime_answers=len(realtime),
        realtime_on_spot=sum(line.fleet.capacity_type == "spot" for line in realtime),
        background_answers=len(background),
        background_on_spot=sum(line.fleet.capacity_type == "spot" for line in background),
        late=play.late,
        cost_usd={name: part.usd for name, part in ledger.parts.items()},
        on_demand_usd=ledger.on_demand_usd,
        left_behind=left,
    )


def _texts(line: ResultLine) -> list[str]:
    if line.response is None:
        return []
    return [choice["message"]["content"] for choice in line.response.body["choices"]]
