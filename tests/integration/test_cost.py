"""`fleet cost` on a real fleet of which a node is killed and another one gets notice."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet.events import NodeReady, NodeStarted, UsageRecorded
from fleet.wire import job_headers
from tests.asking import Asker, answer_to, chat, chunk, events_of, eventually, text_of
from tests.fleets import QUICK, RunningFleet, running_fleet
from tests.integration.brokers import connected
from tests.integration.cli import fleet as run

# Nine seconds an item: what is told every five seconds is told at least once, and work remains.
TOKENS = 450
ITEM_S = TOKENS / 50
ITEMS = 3
JOBS = ("job-0", "job-1")
PRICES = {"spot": 1.80, "on-demand": 4.50}
# What this machine may take to start a process, or to look at one.
OFF_BY_S = 8.0


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFleet]:
    """Two spot consumers that are replaced, fifty tokens a second, as H100s of the example book."""
    env = {**QUICK, "FLEET_INSTANCE_TYPE": "h100"}
    flags = ("--spot", "2", "--token-rate", "50", "--replace")
    with running_fleet(tmp_path_factory.mktemp("fleet"), *flags, env=env) as running:
        yield running


async def cost(fleet: RunningFleet, *flags: str) -> dict[str, Any]:
    ran = await run(fleet.nats, "cost", "--json", *flags)
    assert ran.code == 0, ran.err
    said: dict[str, Any] = json.loads(ran.out)
    return said


async def worked(asker: Asker, *nodes: str) -> None:
    """Wait until each of these nodes told that something of its work is safe."""

    async def look() -> bool | None:
        told = await events_of(asker.connection, UsageRecorded, tenant=asker.tenant)
        return {event.node for event in told if event.engine_s > 0} >= set(nodes) or None

    await eventually(look, f"the work of {nodes}")


async def interrupt(fleet: RunningFleet, asker: Asker) -> dict[str, float]:
    """Let two jobs live through a kill and a notice; tell when each node was hit."""
    for job in JOBS:
        body = chunk([chat(f"{job}-{n}", TOKENS) for n in range(ITEMS)])
        await asker.publish("batch", body, headers=job_headers(asker.tenant, job, batch="b1"))
    victim, warned = fleet.of("spot")[:2]
    await worked(asker, victim, warned)
    hit = {victim: time.time()}
    fleet.send(victim, signal.SIGKILL)
    await asyncio.to_thread(fleet.next_event, "replaced", node=victim)
    hit[warned] = time.time()
    fleet.send(warned, signal.SIGTERM)
    await asyncio.to_thread(fleet.next_event, "replaced", node=warned)
    for job in JOBS:
        lines = await asker.lines(job, batch="b1")
        assert [text_of(line) for line in lines] == [
            answer_to(f"{job}-{n}", TOKENS) for n in range(ITEMS)
        ]

    async def all_told() -> bool | None:
        told = await events_of(asker.connection, UsageRecorded, tenant=asker.tenant)
        return sum(event.items for event in told) == len(JOBS) * ITEMS or None

    await eventually(all_told, "the usage of every item")

    async def all_are_back() -> bool | None:
        ready = await events_of(asker.connection, NodeReady)
        return {event.node for event in ready} == set(fleet.nodes) or None

    await eventually(all_are_back, "the heirs of both nodes")
    return hit


async def test_the_ledger_of_an_interrupted_fleet_adds_up(fleet: RunningFleet, unique: str) -> None:
    async with connected(fleet.nats) as connection:
        began = min(event.since or 0.0 for event in await events_of(connection, NodeStarted))
        hit = await interrupt(fleet, Asker(connection, unique))
        report = (await cost(fleet))["report"]
        lives = {event.node: event for event in await events_of(connection, NodeStarted)}
    now = time.time()

    assert sum(part["usd"] for part in report["parts"].values()) == approx(report["bill_usd"])
    assert sum(part["hours"] for part in report["parts"].values()) == approx(report["node_hours"])
    paid = {name: hit.get(name, now) - (life.since or 0.0) for name, life in lives.items()}
    assert len(paid) == report["nodes"] == 5
    assert report["node_hours"] * 3600 == pytest.approx(sum(paid.values()), abs=5 * OFF_BY_S)
    bill = sum(s / 3600 * PRICES[lives[name].capacity_type] for name, s in paid.items())
    assert report["bill_usd"] == pytest.approx(bill, abs=5 * OFF_BY_S * 4.50 / 3600)
    assert all(part["usd"] >= 0 for part in report["parts"].values())
    assert report["unmetered"] == []

    # Two jobs, each of items that run at once. What the kill took was made twice.
    assert report["output_tokens"] == len(JOBS) * ITEMS * TOKENS
    assert ITEM_S < report["parts"]["useful"]["hours"] * 3600 < 2 * ITEM_S + OFF_BY_S
    assert 0 < report["parts"]["lost"]["hours"] * 3600 < 5 + OFF_BY_S
    assert 0 < report["parts"]["start_up"]["hours"] * 3600 < now - began

    ends = {end["node"]: end for end in report["interruptions"]}
    victim, warned = hit
    assert ends.keys() == {victim, warned}
    assert (ends[victim]["how"], ends[warned]["how"]) == ("SIGKILL", "signal")
    assert ends[victim]["lost_s"] > 0
    assert ends[warned]["lost_s"] == pytest.approx(0, abs=0.5)
    assert {end["successor"] for end in ends.values()} == set(fleet.of("spot")[2:])
    for end in ends.values():
        assert end["restart_s"] > 0
        assert end["usd"] > 0
        assert end["at"] == pytest.approx(hit[end["node"]], abs=OFF_BY_S)


@pytest.mark.parametrize("by", ["tenant", "job"])
async def test_the_rows_sum_to_the_bill(fleet: RunningFleet, by: str) -> None:
    report = (await cost(fleet, "--by", by))["report"]
    assert report["by"] == by
    assert sum(row["usd"] for row in report["rows"]) == approx(report["bill_usd"])
    if by == "job":
        ours = [row for row in report["rows"] if row["name"].endswith(JOBS)]
        assert [(row["items"], row["output_tokens"]) for row in ours] == [
            (ITEMS, ITEMS * TOKENS)
        ] * len(JOBS)


async def test_people_read_what_it_cost_and_which_prices_count(
    fleet: RunningFleet, tmp_path: Path
) -> None:
    ran = await run(fleet.nats, "cost", "--since", "1h")
    assert ran.code == 0, ran.err
    assert "for the same work on on-demand: " in ran.out
    assert "2 interruptions cost " in ran.out
    assert "spot smollm2" in ran.out
    assert "note: prices are the example that ships with the package" in ran.err

    book = tmp_path / "mine.toml"
    book.write_text('dated = 2020-01-01\nprice = [{instance_type = "h100", '
                    'capacity_type = "on-demand", usd_per_hour = 9}]')  # fmt: skip
    ran = await run(fleet.nats, "cost", "--prices", str(book))
    assert ran.code == 0, ran.err
    assert "not in the bill: " in ran.out
    assert "note: h100, spot, in b, c: no price is known" in ran.err
    assert "note: h100, on-demand, in a: the price is of 2020-01-01" in ran.err


def approx(value: float) -> Any:
    return pytest.approx(value, rel=1e-9)
