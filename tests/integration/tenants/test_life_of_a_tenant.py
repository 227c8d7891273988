"""A tenant's life with our own client, through its account alone."""

from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path

import pytest

from fleet.batches import Batches
from fleet.broker.connection import Connection
from fleet.cancel import cancel
from fleet.errors import BrokerRefused, NotFound
from fleet.events import OperatorActed
from fleet.follow import locate
from fleet.producer import Producer
from tests.asking import chat, events_of
from tests.integration import cli
from tests.integration.answering import answering
from tests.integration.batch_kit import content, finished, plan_of, read


async def test_answers_are_streamed_and_joined_later(everybody: Mapping[str, Connection]) -> None:
    async with answering(everybody["@operator"], "m"):
        producer = Producer(everybody["acme"], tenant="acme")
        ticket = await producer.submit(chat("hello"), model="m", tier="batch")
        async with aclosing(producer.stream(ticket)) as deltas:
            text = "".join([delta.text async for delta in deltas])
        (line,) = await producer.result(ticket)
        assert line.error is None
        assert text
        found = await locate(everybody["acme"], tenant="acme", job=ticket.job)
        assert found.job == ticket.job


async def test_a_batch_goes_in_is_watched_and_collected(
    everybody: Mapping[str, Connection], tmp_path: Path
) -> None:
    async with answering(everybody["@operator"], "acme"):
        batches = Batches(everybody["acme"], tenant="acme")
        manifest, groups = plan_of(content(30), "acme", chunk=7)
        await batches.submit(manifest, groups)
        await finished(batches, manifest.id)
        await batches.collect(manifest.id, tmp_path)
        assert len(read(tmp_path / f"{manifest.id}_output.jsonl")) == 30
        assert [one.id for one in await batches.ls()] == [manifest.id]
        others = Batches(everybody["beta"], tenant="beta")
        assert await others.ls() == []
        with pytest.raises(NotFound):
            await others.status(manifest.id)


async def test_a_job_is_cancelled_by_its_tenant_alone(
    everybody: Mapping[str, Connection],
) -> None:
    producer = Producer(everybody["acme"], tenant="acme")
    ticket = await producer.submit(chat("wait"), model="idle", tier="batch")
    with pytest.raises((BrokerRefused, NotFound)):
        await cancel(everybody["beta"], tenant="acme", job=ticket.job)
    ended = await cancel(everybody["acme"], tenant="acme", job=ticket.job)
    assert ended.state == "queued"
    begun = await producer.submit(chat("run"), model="idle", tier="batch")
    await everybody["@operator"].append(f"$KV.claims.acme.{begun.job}", b"{}")
    running = await cancel(everybody["acme"], tenant="acme", job=begun.job)
    assert running.state == "running"
    again = await cancel(everybody["acme"], tenant="acme", job=ticket.job)
    assert again.state == "cancelled"


async def test_a_tenant_that_may_tell_nothing_ends_its_job_by_command_all_the_same(
    everybody: Mapping[str, Connection], accounts_url: str, tmp_path: Path
) -> None:
    producer = Producer(everybody["acme"], tenant="acme")
    for variables in ({"FLEET_TENANT": "acme"}, {}):
        ticket = await producer.submit(chat("wait"), model="idle", tier="batch")
        key = {"NATS_NKEY": str(tmp_path / "acme.seed")}
        words = ("cancel", ticket.job, "--tenant", "acme")
        ran = await cli.fleet(accounts_url, *words, env=key | variables)
        assert ran.code == 0, ran.err
        assert "is cancelled" in ran.out
    assert await events_of(everybody["@operator"], OperatorActed) == []
