"""Procedures of docs/operations.md, run as they stand at a fleet that works."""

import json
from collections.abc import AsyncIterator, Iterator

import pytest

from fleet.broker.nodes import Nodes
from tests.asking import MODEL, Asker, chat, eventually
from tests.fleets import QUICK, ROOT, RunningFleet, running_fleet
from tests.integration import cli
from tests.integration.brokers import connected
from tests.operations.shell import run

PROMPTS = ROOT / "docs" / "examples" / "prompts.jsonl"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFleet]:
    folder = tmp_path_factory.mktemp("fleet")
    env = {**QUICK, "FLEET_PRICE_USD_PER_HOUR": "1.8"}
    with running_fleet(folder, "--spot", "3", "--token-rate", "60", env=env) as running:
        yield running


@pytest.fixture
async def asker(fleet: RunningFleet, unique: str) -> AsyncIterator[Asker]:
    async with connected(fleet.nats) as connection:
        yield Asker(connection, unique)


async def test_a_node_is_drained_and_its_work_ends_elsewhere(
    fleet: RunningFleet, asker: Asker, unique: str
) -> None:
    flags = ("--model", MODEL, "--batch", unique, "--chunk", "1")
    ran = await cli.fleet(fleet.nats, "batch", "submit", str(PROMPTS), *flags)
    assert ran.code == 0, ran.err
    node = await busy(asker)
    ran = await run("Drain a node for maintenance", url=fleet.nats, NODE=node, BATCH=unique)
    assert ran.code == 0, ran.err
    assert f"{unique}: proven" in ran.out
    assert fleet.next_event("ended", node=node)["code"] == 0


async def test_the_bill_is_read_and_sums_up(fleet: RunningFleet, asker: Asker) -> None:
    await asker.ask("batch", chat("cheap", 4))
    ran = await run("Read the bill", url=fleet.nats)
    assert ran.code == 0, ran.err
    report = json.loads(ran.out.splitlines()[-1])["report"]
    assert report["rows"]
    assert "useful work" in ran.out


async def busy(asker: Asker) -> str:
    """Wait until a spot node holds something, and name it."""

    async def look() -> str | None:
        nodes = await Nodes(asker.connection).list()
        return next((one.node for one in nodes if one.items and one.capacity_type == "spot"), None)

    return await eventually(look, "a node with work")
