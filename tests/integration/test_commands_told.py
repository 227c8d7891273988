"""Commands that change a fleet tell EVENTS of it, before and after, as the screen does."""

from collections.abc import AsyncIterator

import pytest

from fleet.batches import Batches
from fleet.broker.connection import Connection
from fleet.broker.dead import DeadLetters
from fleet.broker.provision import provision
from fleet.cli.who import who
from fleet.events import OperatorActed
from fleet.pool.switches import Switches
from fleet.subjects import EVENTS
from tests.asking import Asker, chat, events_of
from tests.integration import cli
from tests.integration.batch_kit import content, plan_of
from tests.integration.brokers import connected
from tests.integration.test_cli_dead import bury
from tests.server import nats_server


@pytest.fixture
async def connection(own_url: str, unique: str) -> AsyncIterator[Connection]:
    async with connected(own_url) as connection:
        await provision(connection, [unique])
        yield connection


async def told(connection: Connection, target: str) -> list[tuple[str, str, str]]:
    """Read what was told of a target: deed, outcome and result, all of them by us."""
    events = await events_of(connection, OperatorActed, target=target)
    assert {one.by for one in events} <= {who()}
    return [(one.deed, one.outcome, one.result) for one in events]


async def test_a_pool_is_paused_resumed_and_set(
    connection: Connection, own_url: str, unique: str
) -> None:
    model = ("--model", unique)
    for words in (("pause", "--why", "rent is due"), ("resume",), ("set", "most_spot=3")):
        ran = await cli.fleet(own_url, "pool", *words, *model)
        assert ran.code == 0, ran.err
    assert await told(connection, f"pool {unique}") == [
        ("pause", "begun", ""), ("pause", "done", ""),
        ("resume", "begun", ""), ("resume", "done", ""),
    ]  # fmt: skip
    [begun, done] = await told(connection, f"most_spot=3 of the pool {unique}")
    assert (begun[:2], done[:2]) == (("set", "begun"), ("set", "done"))


async def test_a_letter_is_queued_again_and_several_are_dropped_in_one_act(
    connection: Connection, own_url: str, unique: str
) -> None:
    one = await bury(connection, unique, job="one", sequence=1)
    ran = await cli.fleet(own_url, "dead", "requeue", str(one.sequence))
    assert ran.code == 0, ran.err
    assert await told(connection, f"dead letter {one.sequence}") == [
        ("requeue", "begun", ""), ("requeue", "done", "1 queued again, 0 could not be"),
    ]  # fmt: skip
    both = [await bury(connection, unique, job=job, sequence=n) for n, job in ((2, "b"), (3, "c"))]
    ran = await cli.fleet(own_url, "dead", "drop", "--all", "--tenant", unique, "--yes")
    assert ran.code == 0, ran.err
    named = f"2 dead letters: {both[0].sequence}, {both[1].sequence}"
    assert await told(connection, named) == [("drop", "begun", ""), ("drop", "done", "2 dropped")]


async def test_a_filter_that_leaves_no_letter_asks_and_tells_nothing(
    connection: Connection, own_url: str, unique: str
) -> None:
    before = await events_of(connection, OperatorActed)
    for verb in ("requeue", "drop"):
        ran = await cli.fleet(own_url, "dead", verb, "--all", "--tenant", unique)
        assert (ran.code, ran.out) == (0, "")
        assert "no dead letter fits" in ran.err
    assert await events_of(connection, OperatorActed) == before


async def test_an_order_to_a_node_that_is_not_there_is_told_as_failed(
    connection: Connection, own_url: str, unique: str
) -> None:
    for verb in ("drain", "resume"):
        assert (await cli.fleet(own_url, verb, unique)).code == 4
    events = await events_of(connection, OperatorActed, node=unique)
    assert [(one.deed, one.outcome) for one in events] == [
        ("drain", "begun"), ("drain", "failed"), ("call back", "begun"), ("call back", "failed"),
    ]  # fmt: skip
    assert "fleet nodes" in events[1].result


async def test_the_end_of_a_job_and_of_a_batch_is_told_unless_it_is_ones_own(
    connection: Connection, own_url: str, unique: str
) -> None:
    for job in ("hers", "mine"):
        await Asker(connection, unique, model=unique).publish(
            "batch", chat("wait"), headers={"Fleet-Job-Id": job}
        )
    ran = await cli.fleet(own_url, "cancel", "hers", "--tenant", unique)
    assert ran.code == 0, ran.err
    ran = await cli.fleet(own_url, "cancel", "mine", env={"FLEET_TENANT": unique})
    assert ran.code == 0, ran.err
    [begun, done] = await told(connection, f"job hers of {unique}")
    assert (begun[:2], done[:2]) == (("cancel", "begun"), ("cancel", "done"))
    assert await told(connection, f"job mine of {unique}") == []
    manifest, groups = plan_of(content(3), unique)
    await Batches(connection, tenant=unique).submit(manifest, groups)
    ran = await cli.fleet(own_url, "batch", "cancel", manifest.id, "--tenant", unique)
    assert ran.code == 0, ran.err
    assert len(await told(connection, f"batch {manifest.id} of {unique}")) == 2


async def test_nothing_is_done_that_cannot_be_told(
    tmp_path_factory: pytest.TempPathFactory, unique: str
) -> None:
    with nats_server(tmp_path_factory.mktemp("server")) as server:
        async with connected(server.url) as connection:
            await provision(connection, [unique])
            letter = await bury(connection, unique)
            await connection.api(f"STREAM.DELETE.{EVENTS}")
            paused = await cli.fleet(server.url, "pool", "pause", "--model", unique)
            dropped = await cli.fleet(server.url, "dead", "drop", str(letter.sequence), "--yes")
            assert (paused.code, dropped.code) == (6, 6), (paused.err, dropped.err)
            assert await Switches(connection, unique).paused() is None
            assert len(await DeadLetters(connection).list(tenant=unique)) == 1
