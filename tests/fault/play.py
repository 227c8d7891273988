"""Play one scenario with one seed: work, harm, healing, and the judgement."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from fleet.broker.dead import DeadLetters
from fleet.broker.eventlog import EventLog
from fleet.broker.log_state import lines_of
from fleet.broker.nodes import Nodes
from fleet.broker.stored import messages
from fleet.events import JobLost, JobReleased, JobTakenOver
from fleet.job import ResultLine
from fleet.subjects import RESULTS
from tests.asking import text_of
from tests.fault.act import POLL_S, Act, acting
from tests.fault.checker import Found, Limits, check
from tests.fault.history import Entry, History
from tests.fault.stage import CHECKPOINT_S, NODES, RATE, SLOTS, Stage
from tests.integration.brokers import connected

DEAF_S = 30.0


class Scenario(NamedTuple):
    """name: in file names and the report. what: is done to the fleet, in words."""

    name: str
    what: str
    perform: Callable[[Act], Awaitable[None]]


class Played(NamedTuple):
    """How a scenario went with one seed."""

    scenario: Scenario
    seed: int
    seconds: float
    found: Found
    history: History


async def play(
    stage: Stage, scenario: Scenario, seed: int, folder: Path, *, turn: int | None = None
) -> Played:
    """Play it and check its history. Whatever it is, the fleet is whole again afterwards."""
    began = time.monotonic()
    tenant = f"{scenario.name}-{seed}"
    with History(folder / f"{tenant}.jsonl") as history:
        async with connected(stage.url) as connection:
            act = Act(stage, connection, history, tenant=tenant, turn=turn)
            async with acting(act):
                before = await act.generated()
                try:
                    await scenario.perform(act)
                    await _settle(act)
                finally:
                    await _heal(act)
                await _observe(act)
                act.note("tokens_generated", "fleet", outcome=await act.generated() - before)
            await _leftovers(act)
    limits = Limits(
        nodes=NODES,
        checkpoint_s=CHECKPOINT_S,
        slots=SLOTS,
        tokens_per_s=RATE,
        items={job: len(tokens) for job, tokens in act.jobs.items()} | act.odd,
    )
    return Played(scenario, seed, time.monotonic() - began, check(history.entries, limits), history)


async def _heal(act: Act) -> None:
    """Wake what is frozen, and end the consumers that the scenario brought."""
    for node in [*act.base(), *act.stage.extras]:
        if act.stage.is_stopped(node):
            act.thaw(node)
    for node in await asyncio.to_thread(act.stage.clear):
        act.note("deaf", node, outcome="did not end when it was told to")
    await asyncio.sleep(0.6)  # one more beat, so that the tokens of all are known


async def _settle(act: Act) -> None:
    """Wait until the product's own proof says that all jobs have ended, within a bound."""
    for node in [*act.base(), *act.stage.extras]:
        if act.stage.is_stopped(node):
            act.thaw(node)
    proof = await act.drained()
    for job in proof.open:
        act.note("still_queued", job.node or "nobody", job=job.job, outcome=job.state)
    for flaw in proof.flaws:
        act.note("unproven", flaw.kind, job=flaw.job, outcome=f"item {flaw.item}: {flaw.cause}")


async def _observe(act: Act) -> None:
    """Write down what is stored."""
    delivered = 0
    async for stored in messages(act.connection, RESULTS, "results.>"):
        _, tenant, _, job = stored.subject.split(".")
        if tenant in act.others:
            lines = lines_of(job, stored)
            delivered += sum((line.usage or {}).get("completion_tokens", 0) for line in lines)
        if tenant != act.tenant:
            continue
        for line in lines_of(job, stored):
            delivered += (line.usage or {}).get("completion_tokens", 0)
            act.history.add(
                Entry(
                    t=stored.written_at,
                    actor=line.fleet.node,
                    op="line",
                    job=job,
                    item=line.fleet.item,
                    attempt=line.fleet.interruptions + 1,
                    outcome=_judged(act, job, line),
                )
            )
    for letter in await DeadLetters(act.connection).list(limit=10_000):
        if letter.tenant == act.tenant:
            clear = "" if len(letter.reason) > 20 else ":unclear"
            outcome = f"error:{letter.code}{clear}"
            act.note("dead", "fleet", job=letter.job or "", outcome=outcome)
    act.note("tokens_delivered", "fleet", outcome=delivered)
    await _observe_events(act)


async def _observe_events(act: Act) -> None:
    async for recorded in EventLog(act.connection).read():
        event = recorded.event
        if not isinstance(event, JobTakenOver | JobReleased | JobLost):
            continue
        if event.tenant != act.tenant:
            continue
        at, node, job = event.at, event.node, event.job
        match event:
            case JobTakenOver():
                outcome = event.from_node or ""
                entry = Entry(t=at, actor=node, op="taken_over", job=job, outcome=outcome)
            case JobReleased():
                entry = Entry(t=at, actor=node, op="released", job=job)
            case JobLost():
                entry = Entry(t=at, actor=node, op="lost", job=job, outcome=event.reason[:80])
        act.history.add(entry)


def _judged(act: Act, job: str, line: ResultLine) -> str:
    if line.error is not None:
        clear = "" if len(line.error.message) > 20 else ":unclear"
        return f"error:{line.error.code}{clear}"
    if job not in act.jobs:
        return "right"
    return "right" if text_of(line) == act.expected(job, line.fleet.item) else "wrong"


async def _leftovers(act: Act) -> None:
    """I6 and I8: who is alive answers, and nobody is connected who is not alive."""
    for name in await _silent(act):
        act.note("deaf", name, outcome=f"its process runs, its heart did not beat for {DEAF_S} s")
    for name in await _strangers(act):
        act.note("left_behind", name, outcome="connection")
    if leaked := act.stage.leaked_fds():
        act.note("left_behind", "fleet up", outcome=f"{leaked} files")


async def _strangers(act: Act) -> set[str]:
    """Name connections of nobody who is alive, once all who dial had time to say their names."""
    give_up = time.monotonic() + DEAF_S
    while True:
        alive = act.base()
        known = {"fleet-up", "test", *alive, *(f"{name}-lease" for name in alive)}
        strangers = set(await asyncio.to_thread(act.stage.connections)) - known
        if not strangers or time.monotonic() > give_up:
            return strangers
        await asyncio.sleep(POLL_S)


async def _silent(act: Act) -> set[str]:
    """Name who lives and says nothing, after all had time to load or to come back."""
    give_up = time.monotonic() + DEAF_S
    while True:
        listed = {node.node for node in await Nodes(act.connection).list()}
        silent = set(act.base()) - listed
        if not silent or time.monotonic() > give_up:
            return silent
        await asyncio.sleep(POLL_S)
