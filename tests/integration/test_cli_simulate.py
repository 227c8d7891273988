"""`fleet simulate` as its users have it."""

import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner

from fleet.broker.connection import Connection
from fleet.broker.eventlog import EventLog
from fleet.broker.provision import provision
from fleet.cli.simulate import command
from fleet.events import NodeGone, NodeStarted, UsageRecorded
from fleet.exits import run_command
from fleet.job import Tier
from tests.integration import cli
from tests.integration.brokers import connected

Simulate: TypeAlias = Callable[..., dict[str, Any]]


def record(directory: Path) -> str:
    """Write a day of two zones, of which one is away every other hour."""
    directory.mkdir()
    for name, data in (("zone-a", [3] * 24), ("zone-b", [2, 0] * 12)):
        recording = {"metadata": {"gap_seconds": 3600}, "data": data}
        (directory / f"{name}.json").write_text(json.dumps(recording))
    return str(directory)


@pytest.fixture
def simulate(capsys: pytest.CaptureFixture[str]) -> Simulate:
    """Run the command in this process; return its JSON."""

    def run(*args: str) -> dict[str, Any]:
        code = run_command(command, [*args, "--json"], name="fleet simulate")
        said = capsys.readouterr()
        assert code == 0, said.err
        answer: dict[str, Any] = json.loads(said.out)
        return answer

    return run


def test_the_answer_has_all_policies_and_the_bound(simulate: Simulate, tmp_path: Path) -> None:
    answer = simulate("--traces", record(tmp_path / "set"), "--window", "4h", "--seed", "7")
    policies = answer["policies"]
    assert set(policies) >= {"overbook", "greedy", "spothedge", "spot_only", "on_demand_only"}
    ours = policies["overbook"]
    assert ours["misses"] == 0
    assert answer["bound"]["cost_ratio"] <= ours["cost_ratio"] < 1.1
    assert {"reclaims", "begin", "done", "split"} <= set(ours)
    assert sum(ours["split"].values()) == pytest.approx(1, abs=1e-4)


def test_the_same_seed_gives_the_same_numbers(simulate: Simulate, tmp_path: Path) -> None:
    asked = ("--traces", record(tmp_path / "set"), "--window", "4h", "--seed")
    first = simulate(*asked, "7")
    assert simulate(*asked, "7") == first
    assert simulate(*asked, "8")["policies"] != first["policies"]


async def test_people_get_a_table_a_sketch_the_notes_and_a_picture(tmp_path: Path) -> None:
    picture = tmp_path / "what-if.png"
    ran = await cli.fleet(
        "nats://127.0.0.1:1",  # no broker is needed
        "simulate", "--days", "1", "--window", "4h", "--picture", str(picture),
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert all(word in ran.out for word in ("overbook", "bound", "note: made up"))
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--traces", "absent"), "no such directory"),
        (("--days", "1", "--window", "3d"), "shorten the window"),
        (("--days", "0.001"), "too short"),
        (("--window", "soon"), "no length of time"),
        (("--days", "0.5", "--window", "4h", "--picture", "what.if"), "cannot be written"),
    ],
)
def test_a_wrong_question_is_refused_with_the_remedy(
    args: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(command, list(args), name="fleet simulate") == 2
    assert words in capsys.readouterr().err


def test_the_help_names_every_option_of_the_market() -> None:
    text = CliRunner().invoke(command, ["--help"]).output
    assert all(name in text for name in ("--traces", "--prices", "--events", "--market", "--seed"))


@pytest.fixture
async def connection(own_url: str) -> AsyncIterator[Connection]:
    """A broker with no other fleet's past in it."""
    async with connected(own_url) as connection:
        await provision(connection, [])
        yield connection


async def test_a_fleet_lives_through_its_own_past_again(
    connection: Connection, unique: str, own_url: str
) -> None:
    now = time.time()
    begun = now - 1200
    async with EventLog(connection) as log:
        log.emit(
            NodeStarted(
                at=begun, node=unique, capacity_type="spot", zone="zone-a", model="m",
                engine="scripted", pid=1, since=begun, price_usd_per_hour=1.0,
            )
        )  # fmt: skip
        log.emit(
            UsageRecorded(
                at=begun + 120, node=unique, tenant=unique, model="m", tier=Tier.BATCH, batch="b",
                jobs=1, items=1, failed_items=0, prompt_tokens=1, completion_tokens=1, engine_s=60,
            )
        )  # fmt: skip
        log.emit(NodeGone(at=now, node=unique, cause="killed"))
    ran = await cli.fleet(
        own_url, "simulate", "--events", "--window", "10m", "--startup", "10s", "--json"
    )
    assert ran.code == 0, ran.err
    answer = json.loads(ran.out)
    assert answer["market"]["name"] == "events"
    assert answer["policies"]["overbook"]["batches"] >= 1
