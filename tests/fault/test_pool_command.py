"""`fleet up --managed`, `fleet pool` and `fleet why` as an operator has them."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from fleet.broker.connection import Connection
from fleet.manifest import job_id
from fleet.pool.switches import Switches
from tests.asking import MODEL, eventually
from tests.batching import submit_batch
from tests.fleets import RunningFleet, running_fleet
from tests.integration import cli
from tests.integration.brokers import connected

BOUND_S = 40.0


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFleet]:
    flags = ("--managed", "--on-demand", "1", "--spot", "2", "--token-rate", "20", "--slots", "2")
    with running_fleet(tmp_path_factory.mktemp("managed"), *flags) as running:
        yield running


@pytest.fixture
async def connection(fleet: RunningFleet) -> AsyncIterator[Connection]:
    async with connected(fleet.nats) as connection:
        yield connection


async def pool(fleet: RunningFleet, *words: str, code: int = 0) -> Any:
    ran = await cli.fleet(fleet.nats, "pool", *words, "--model", MODEL)
    assert ran.code == code, ran.err + ran.out
    return json.loads(ran.out) if "--json" in words else ran.out + ran.err


async def why(fleet: RunningFleet, name: str, tenant: str, *words: str) -> Any:
    ran = await cli.fleet(fleet.nats, "why", name, "--tenant", tenant, *words)
    assert ran.code == 0, ran.err + ran.out
    return json.loads(ran.out) if "--json" in words else ran.out


async def test_a_pause_is_kept_shown_and_told_to_who_waits(
    fleet: RunningFleet, connection: Connection, unique: str
) -> None:
    await pool(fleet, "pause", "--why", "an audit")
    batch = await submit_batch(
        connection, tenant=unique, model=MODEL, items=4, window_s=3600.0, chunk=4
    )
    first = job_id(batch.id, 0)
    switches = Switches(connection, MODEL)

    async def would_launch() -> bool:
        standing = await switches.standing()
        return standing is not None and bool(standing.decision.launches)

    await eventually(would_launch, "the manager to say what it would do", bound_s=BOUND_S)
    assert "PAUSED" in await pool(fleet, "status")
    assert "this is what it would do" in await pool(fleet, "explain")
    told = await why(fleet, batch.id, unique, "--json")
    assert told["outlook"]["reasons"][0]["code"] == "paused"
    assert told["queued"] == 1
    assert "paused: the manager is paused" in await why(fleet, batch.id, unique)
    job = await why(fleet, first, unique, "--json")
    assert (job["state"], job["position"], job["of"]) == ("waiting", 1, 1)
    assert "no spot node" in await why(fleet, first, unique)
    assert not fleet.of("spot")
    await pool(fleet, "resume")
    started = fleet.next_event("started", bound_s=BOUND_S)
    assert started["capacity_type"] == "spot"


async def test_knobs_are_set_at_once_and_only_such_as_there_are(
    fleet: RunningFleet, connection: Connection
) -> None:
    switches = Switches(connection, MODEL)

    async def decides() -> bool:
        standing = await switches.standing()
        return standing is not None and standing.knobs.budget_usd_per_h == 9.5

    knobs = await pool(fleet, "set", "budget_usd_per_h=9.5", "tuning.margin=3", "--json")
    assert (knobs["budget_usd_per_h"], knobs["tuning"]["margin"]) == (9.5, 3.0)
    # What the manager ran with is kept.
    assert (knobs["baseline"], knobs["most_spot"]) == (1, 2)
    await eventually(decides, "the manager to take the knob up", bound_s=BOUND_S)
    assert "no knob 'speed'" in await pool(fleet, "set", "speed=9", code=2)
    assert "most_spot" in await pool(fleet, "set", "most_spot=-1", code=2)
    assert "budget_usd_per_h = none" in await pool(fleet, "set", "budget_usd_per_h=none")


async def test_a_pool_and_a_name_that_there_are_not_are_not_found(
    fleet: RunningFleet, unique: str
) -> None:
    ran = await cli.fleet(fleet.nats, "pool", "status", "--model", unique)
    assert (ran.code, "no manager has run" in ran.err) == (4, True)
    ran = await cli.fleet(fleet.nats, "why", "nobody-knows-it", "--tenant", unique)
    assert (ran.code, "is in a queue" in ran.err) == (4, True)
