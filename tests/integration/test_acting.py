"""What an operator does from the dashboard, at a real fleet: asked with numbers, done, and told."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from dashboard.acting import OnBatch, OnJob, OnLetter, OnNode, OnQueue, Question
from fleet.batches import Batches
from fleet.broker.connection import Connection
from fleet.broker.nodes import Nodes
from fleet.broker.permit import forbid, is_allowed
from fleet.broker.provision import provision
from fleet.cli.acting import Acting
from fleet.drill import Report
from fleet.drilling import Drill
from fleet.errors import FleetError, JobRejected, NotFound, UsageError
from fleet.events import OperatorActed
from fleet.job import Tier
from fleet.settings import Settings
from fleet.subjects import EVENTS
from tests.asking import MODEL, Asker, chat, chunk, events_of, eventually
from tests.fleets import RunningFleet, running_fleet
from tests.integration.batch_kit import content, plan_of
from tests.integration.brokers import connected
from tests.server import nats_server

LONG = 4000
# What has not begun is handed over at once, and then the node is gone before one can ask again.
SOME = 100


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFleet]:
    flags = ("--on-demand", "1", "--spot", "2", "--token-rate", "60", "--allow-drills")
    with running_fleet(tmp_path_factory.mktemp("fleet"), *flags) as running:
        yield running


@pytest.fixture
async def connection(fleet: RunningFleet) -> AsyncIterator[Connection]:
    async with connected(fleet.nats) as connection:
        yield connection


@pytest.fixture
def acting(connection: Connection) -> Acting:
    return Acting(connection, Settings(), by="somebody at somewhere")


@pytest.fixture
def asker(connection: Connection, unique: str) -> Asker:
    return Asker(connection, unique)


async def test_a_drained_node_is_asked_about_with_its_work_and_can_be_called_back(
    acting: Acting, asker: Asker, unique: str
) -> None:
    await asker.publish("batch", chunk([chat("a", LONG), chat("b", LONG)]), headers=name("held"))
    node = await holder(asker.connection)
    question = await acting.consider("drain", OnNode(node=node))
    assert (question.deed, question.typed) == ("drain", None)
    assert "2 items of 1 jobs in hand" in question.facts[0]
    assert "1 other spot node with smollm2 is ready" in question.facts[-1]
    assert node in await acting.perform(question, ignore)
    await eventually(lambda: leaving(asker.connection, node), "its next heartbeat")
    back = await acting.consider("drain", OnNode(node=node))
    assert back.deed == "call back"
    assert "called back" in await acting.perform(back, ignore)
    told = await events_of(asker.connection, OperatorActed, node=node)
    assert [(one.deed, one.outcome) for one in told] == [
        ("drain", "begun"), ("drain", "done"), ("call back", "begun"), ("call back", "done"),
    ]  # fmt: skip
    assert {one.by for one in told} == {"somebody at somewhere"}
    await cancelled(acting, unique, "held")


async def test_a_paused_queue_gives_no_job_out_until_it_goes_on(
    acting: Acting, asker: Asker, connection: Connection
) -> None:
    queue = OnQueue(tier=Tier.BACKGROUND, model=MODEL)
    pause = await acting.consider("pause", queue)
    assert pause.deed == "pause"
    assert "paused for 3600 s" in await acting.perform(pause, ignore)
    await asker.publish("background", chat("x"), headers=name("waits"))

    async def counted() -> Question | None:
        asked = await acting.consider("pause", queue)
        return asked if "1 jobs of all tenants wait" in asked.facts[0] else None

    # The broker stores a job a moment before its queue counts it.
    ask_again = await eventually(counted, "the job in the queue")
    assert ask_again.deed == "unpause"
    # The batch queue is another one, and work that comes later is done before.
    await asker.ask("batch", chat("y"))
    assert await asker.raw_lines("waits") == []
    await acting.perform(ask_again, ignore)
    assert len(await asker.lines("waits")) == 1
    told = await events_of(connection, OperatorActed, target=f"queue background {MODEL}")
    assert [one.outcome for one in told] == ["begun", "done"] * 2


async def test_a_job_that_was_given_up_is_queued_again_by_its_letter_or_its_name(
    acting: Acting, asker: Asker, connection: Connection, unique: str
) -> None:
    await asker.publish("batch", b"no job", headers=name("bad"))
    letter = await asker.dead_letter("bad")
    question = await acting.consider("requeue", OnJob(tenant=unique, job="bad"))
    assert question == await acting.consider("requeue", OnLetter(letter=letter.sequence))
    assert letter.code in question.facts[0]
    assert f"bad-r{letter.sequence}" in question.facts[1]
    assert "queued again" in await acting.perform(question, ignore)
    assert (await asker.dead_letter(f"bad-r{letter.sequence}")).tenant == unique
    with pytest.raises(NotFound):
        await acting.perform(question, ignore)
    failed = await events_of(connection, OperatorActed, outcome="failed", deed="requeue")
    assert [one.target for one in failed] == [f"dead letter {letter.sequence}"]
    assert "fleet dead ls" in failed[0].result


async def test_ending_a_job_counts_what_is_lost_and_wants_its_name_typed(
    acting: Acting, asker: Asker, connection: Connection, unique: str
) -> None:
    body = chunk([chat("short", 1), chat("long", LONG), chat("longer", LONG)])
    await asker.publish("batch", body, headers=name("doomed"))
    await asker.some_lines("doomed")
    question = await acting.consider("cancel", OnJob(tenant=unique, job="doomed"))
    assert question.typed == "doomed"
    assert "1 of its 3 items are done" in question.facts[0]
    assert "the other 2 get the error" in question.facts[0]
    await acting.perform(question, ignore)
    lines = await asker.lines("doomed")
    assert [line.error.code if line.error else None for line in lines] == [
        None, "cancelled", "cancelled",
    ]  # fmt: skip
    with pytest.raises(NotFound, match="it has ended"):
        await eventually_gone(acting, OnJob(tenant=unique, job="doomed"))


async def test_ending_a_batch_counts_its_requests(
    acting: Acting, connection: Connection, unique: str
) -> None:
    # It has a queue, for what has none is soon refused, and nobody who takes from it.
    await provision(connection, [unique])
    batches = Batches(connection, tenant=unique)
    plan, bodies = plan_of(content(6), unique)
    batch = (await batches.submit(plan, bodies)).id
    question = await acting.consider("cancel", OnBatch(tenant=unique, batch=batch))
    assert question.typed == batch
    assert "0 of its 6 requests are done" in question.facts[0]
    assert "cancel" in await acting.perform(question, ignore)
    told = await events_of(connection, OperatorActed, target=f"batch {batch} of {unique}")
    assert [one.outcome for one in told] == ["begun", "done"]


async def test_a_drill_kills_the_node_whose_name_was_typed_and_reports(
    acting: Acting, connection: Connection
) -> None:
    await two_spot_ready(connection)
    nodes = await Nodes(connection).list()
    serving = next(node.node for node in nodes if node.capacity_type == "on-demand")
    with pytest.raises(UsageError, match="on-demand"):
        await acting.consider("drill", OnNode(node=serving))
    victim = next(node.node for node in nodes if node.capacity_type == "spot")
    question = await acting.consider("drill", OnNode(node=victim))
    assert question.typed == victim
    said: list[str] = []
    report = await acting.perform(question, said.append)
    # How late work went on is measured, and the machine's; that nothing is lost is ours.
    assert re.search(f"kill of {victim}: (PASS|FAIL); .*items lost: 0 [^;]* ok", report), report
    assert report.isprintable(), "the screen would not show it as it is"
    assert any("goes on with" in text for text in said)
    assert len([text for text in said if "answered" in text]) <= 5, "each covers the screen"
    told = await events_of(connection, OperatorActed, deed="drill", node=victim)
    assert [(one.node, one.outcome) for one in told] == [(victim, "begun"), (victim, "done")]


async def test_an_error_among_several_is_told_as_it_is(
    acting: Acting, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(drill: Drill) -> Report:
        raise ExceptionGroup("of a group of tasks", [NotFound("it is gone")])

    await two_spot_ready(connection)
    nodes = await Nodes(connection).list()
    victim = next(node.node for node in nodes if node.capacity_type == "spot")
    question = await acting.consider("drill", OnNode(node=victim))
    monkeypatch.setattr(Drill, "run", run)
    with pytest.raises(NotFound, match="it is gone"):
        await acting.perform(question, ignore)
    told = await events_of(connection, OperatorActed, outcome="failed", deed="drill")
    assert [one.result for one in told] == ["it is gone"]


async def test_no_drill_is_offered_at_a_fleet_that_forbids_it(
    acting: Acting, connection: Connection
) -> None:
    await forbid(connection)
    assert not await is_allowed(connection)
    with pytest.raises(UsageError, match="fleet drill allow"):
        await acting.consider("drill", OnNode(node="spot-1"))


@pytest.mark.parametrize("node", ["nobody", "[/red]", "\x1b]52;c;aGk=\x07", "x" * 10_000])
async def test_what_is_not_there_is_refused_and_nothing_is_told(
    acting: Acting, connection: Connection, node: str
) -> None:
    before = len(await events_of(connection, OperatorActed))
    with pytest.raises(NotFound) as refused:
        await acting.consider("drain", OnNode(node=node))
    assert str(refused.value).isprintable()
    assert len(await events_of(connection, OperatorActed)) == before


async def test_an_action_that_does_not_fit_is_refused(acting: Acting) -> None:
    with pytest.raises(UsageError, match="does not fit"):
        await acting.consider("drain", OnLetter(letter=1))
    with pytest.raises(JobRejected):
        await acting.consider("cancel", OnBatch(tenant="No Name", batch="b"))


async def test_nothing_is_done_that_cannot_be_told(tmp_path: Path) -> None:
    queue = OnQueue(tier=Tier.BATCH, model=MODEL)
    with nats_server(tmp_path) as server:
        async with connected(server.url) as connection:
            await provision(connection, [MODEL])
            acting = Acting(connection, Settings(), by="somebody")
            question = await acting.consider("pause", queue)
            await connection.api(f"STREAM.DELETE.{EVENTS}")
            with pytest.raises(FleetError):
                await acting.perform(question, ignore)
            assert (await acting.consider("pause", queue)).deed == "pause", "without a trace"


async def holder(connection: Connection) -> str:
    """Wait for a spot node that works; name it."""

    async def look() -> str | None:
        nodes = await Nodes(connection).list()
        ready = [n for n in nodes if n.state == "ready" and n.capacity_type == "spot"]
        busy = (n.node for n in ready if n.items == 2 and n.tokens_generated > SOME)
        return next(busy, None) if len(ready) == 2 else None

    return await eventually(look, "a spot node that works")


async def leaving(connection: Connection, name: str) -> bool:
    nodes = await Nodes(connection).list()
    return any(n.node == name and n.state in {"draining", "drained"} for n in nodes)


async def two_spot_ready(connection: Connection) -> None:
    async def look() -> bool:
        nodes = await Nodes(connection).list()
        return sum(n.state == "ready" and n.capacity_type == "spot" for n in nodes) == 2

    await eventually(look, "two spot nodes")


async def cancelled(acting: Acting, tenant: str, job: str) -> None:
    await acting.perform(await acting.consider("cancel", OnJob(tenant=tenant, job=job)), ignore)


async def eventually_gone(acting: Acting, target: OnJob) -> Question:
    """Ask until it is refused: the queue lets go of a job a moment after its last line."""
    async with asyncio.timeout(30):
        while True:
            await acting.consider("cancel", target)
            await asyncio.sleep(0.05)


def name(job: str) -> dict[str, str]:
    return {"Fleet-Job-Id": job}


def ignore(text: str) -> None:
    del text
