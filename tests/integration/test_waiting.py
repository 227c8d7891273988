"""Why one job waits, at a real queue."""

import time

import pytest

from fleet.broker.claims import Claims
from fleet.broker.connection import Connection
from fleet.broker.nodes import Nodes
from fleet.broker.provision import provision
from fleet.broker.queue import Puller
from fleet.claim import Claim, Past
from fleet.errors import NotFound
from fleet.job import Tier
from fleet.pool.waiting import Waiting, waiting
from fleet.subjects import durable
from tests.asking import Asker, chat
from tests.machines import node


async def ask(connection: Connection, tenant: str, job: str) -> Waiting:
    return await waiting(connection, tenant, job, realtime_deadline_s=300.0)


@pytest.fixture
async def queue(provisioned: Connection, unique: str) -> Connection:
    await provision(provisioned, [unique])
    asker = Asker(provisioned, unique, model=unique)
    for name in ("one", "two", "three"):
        await asker.publish("batch", chat("hi"), headers={"Fleet-Job-Id": name})
    return provisioned


async def test_a_job_that_waits_is_told_its_place(queue: Connection, unique: str) -> None:
    found = await ask(queue, unique, "two")
    assert (found.state, found.position, found.of, found.ready) == ("waiting", 2, 3, 0)
    assert f"no spot node that serves {unique} is ready" in found.texts


async def test_a_job_that_was_delivered_is_told_who_holds_it_and_when_it_is_tried_again(
    queue: Connection, unique: str
) -> None:
    claims, nodes = Claims(queue), Nodes(queue)
    name = durable(Tier.BATCH, unique)
    async with Puller(queue, stream="JOBS_BATCH", durable=name) as puller:
        await puller.ask(1)
        assert await puller.next() is not None
        fresh = await ask(queue, unique, "one")
        assert (fresh.state, fresh.node) == ("held", None)
        assert (await ask(queue, unique, "two")).position == 1
        claim = Claim(owner=unique, writer="w", sha256="", attempts=2, interruptions=1)
        revision = await claims.save(unique, "one", claim, revision=0)
        silent = await ask(queue, unique, "one")
        assert (silent.state, silent.again_in_s) == ("between", 10.0)
        await nodes.beat(node(unique), ttl_s=60)
        held = await ask(queue, unique, "one")
        assert (held.state, held.node, held.attempts, held.interruptions) == ("held", unique, 2, 1)
        await nodes.forget(unique)
        past = Past(time.time(), unique, "failed")
        failed = Claim(owner=None, writer="x", sha256="", attempts=6, history=(past,))
        await claims.save(unique, "one", failed, revision=revision)
        again = await ask(queue, unique, "one")
        assert again.state == "between"
        assert 25 < (again.again_in_s or 0) <= 32
        assert "failed 6 times by its own fault" in again.texts[0]


async def test_a_real_time_job_is_told_when_it_expires(queue: Connection, unique: str) -> None:
    asker = Asker(queue, unique, model=unique)
    await asker.publish("realtime", chat("hi"), headers={"Fleet-Job-Id": "now"})
    found = await ask(queue, unique, "now")
    assert found.expires_at == pytest.approx(time.time() + 300, abs=30)
    assert f"no on-demand node that serves {unique} is ready" in found.texts
    assert any(text.startswith("it expires in") for text in found.texts)


async def test_a_job_that_there_is_not_is_not_found(queue: Connection, unique: str) -> None:
    with pytest.raises(NotFound, match="fleet dead ls"):
        await ask(queue, unique, "nobody")
