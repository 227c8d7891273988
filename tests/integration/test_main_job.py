"""The main job: requests in, the right answers out, on the right capacity."""

import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from fleet.broker.connection import Connection
from fleet.broker.kv import Bucket
from fleet.broker.nodes import Nodes
from fleet.broker.tokens import TokenStream
from fleet.events import UsageRecorded
from fleet.job import Tier
from fleet.manifest import Manifest, layout_of
from fleet.subjects import BATCHES, batch_key
from fleet.told import Told
from tests.asking import MODEL, Asker, answer_to, chat, chunk, events_of, eventually, text_of
from tests.fleets import RunningFleet, running_consumer, running_fleet
from tests.integration.brokers import connected
from tests.raw import publish_raw

TIERS = ("realtime", "background", "batch")
TRIES = 4


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFleet]:
    """One on-demand and one spot consumer, fifty tokens a second."""
    folder = tmp_path_factory.mktemp("fleet")
    with running_fleet(folder, "--spot", "1", "--token-rate", "50") as running:
        yield running


@pytest.fixture
async def asker(fleet: RunningFleet, unique: str) -> AsyncIterator[Asker]:
    async with connected(fleet.nats) as connection:
        yield Asker(connection, unique)


@pytest.mark.parametrize("tier", TIERS)
async def test_a_published_request_is_answered_rightly(asker: Asker, tier: str) -> None:
    (line,) = await asker.ask(tier, {**chat("hello", 5), "custom_id": "c"})
    assert text_of(line) == answer_to("hello", 5)
    assert (line.custom_id, line.error) == ("c", None)
    assert line.usage == {
        "prompt_tokens": len("user: hello"),
        "completion_tokens": 5,
        "total_tokens": len("user: hello") + 5,
    }


@pytest.mark.parametrize("tier", TIERS)
async def test_a_client_that_knows_only_pub_is_answered(
    fleet: RunningFleet, asker: Asker, tier: str
) -> None:
    subject = f"jobs.{tier}.{MODEL}.{asker.tenant}"
    assert publish_raw(fleet.nats, subject.encode(), msgspec.json.encode(chat("raw"))) == b"PONG"

    async def look() -> str | None:
        found = await asker.connection.api(
            "STREAM.INFO.RESULTS", {"subjects_filter": f"results.{asker.tenant}.>"}
        )
        subjects = list(found["state"].get("subjects") or {})
        return str(subjects[0]) if subjects else None

    job = (await eventually(look, "a result")).rpartition(".")[2]
    assert job.startswith(f"JOBS_{tier.upper()}-")
    assert text_of((await asker.lines(job))[0]) == answer_to("raw")


async def test_real_time_never_runs_on_spot(asker: Asker) -> None:
    receipts = [await asker.publish("realtime", chat(f"q{n}", 2)) for n in range(24)]
    lines = [(await asker.lines(f"{receipt.stream}-{receipt.sequence}"))[0] for receipt in receipts]
    assert {line.fleet.capacity_type for line in lines} == {"on-demand"}
    assert [text_of(line) for line in lines] == [answer_to(f"q{n}", 2) for n in range(24)]


async def test_background_and_batch_run_on_spot_while_it_has_room(asker: Asker) -> None:
    for n in range(6):
        for tier in ("background", "batch"):
            await on_spot(asker, tier, f"b{n}")


async def test_the_token_stream_joins_to_the_answer(asker: Asker) -> None:
    receipt = await asker.publish("realtime", chat("tell me", 40))
    job = f"{receipt.stream}-{receipt.sequence}"
    (line,) = await asker.lines(job)
    messages = await TokenStream(asker.connection).read(asker.tenant, None, job)
    deltas = [message.delta for message in messages if message.delta]
    assert len(deltas) > 1, "forty tokens take most of a second"
    assert "".join(delta.text for delta in deltas) == text_of(line)
    assert sum(len(delta.token_ids) for delta in deltas) == 40
    assert [delta.finish_reason for delta in deltas][-1] == "length"
    assert Told(deltas).text == text_of(line)


async def test_embeddings_are_answered_with_a_vector_a_text(asker: Asker) -> None:
    body = {"url": "/v1/embeddings", "body": {"input": ["one", "three"]}}
    (line,) = await asker.ask("batch", body)
    assert line.response is not None
    assert [len(entry["embedding"]) for entry in line.response.body["data"]] == [32, 32]
    assert line.usage is not None
    assert line.usage["prompt_tokens"] == len("onethree")


async def test_a_chunk_with_good_and_bad_requests_has_a_line_for_each(asker: Asker) -> None:
    good = {**chat("good"), "custom_id": "good"}
    bad = {**chat("bad", temprature=1), "custom_id": "bad"}
    long = {**chat("long", 70_000), "custom_id": "long"}
    few = {**chat("few", 2, min_tokens=9), "custom_id": "few"}
    lines = await asker.ask("batch", chunk([good, bad, 7, long, few, {**good, "custom_id": "g2"}]))
    codes = [line.error.code if line.error else None for line in lines]
    assert codes == [
        None, "invalid_request", "invalid_request", "context_exceeded", "invalid_request", None
    ]  # fmt: skip
    assert [line.custom_id for line in lines] == ["good", "bad", None, "long", "few", "g2"]
    assert text_of(lines[0]) == text_of(lines[5]) == answer_to("good")
    assert lines[1].error is not None
    assert "temprature" in lines[1].error.message


async def test_the_same_job_twice_has_one_result(asker: Asker) -> None:
    headers = {"Fleet-Job-Id": "twice"}
    await asker.publish("batch", chat("once"), headers=headers)
    first = await asker.lines("twice")
    await asker.publish("batch", chat("once"), headers=headers)
    await asker.ask("batch", chat("another"))
    await queue_is_empty(asker, "batch")
    assert await asker.raw_lines("twice") == first


async def test_an_id_used_again_for_other_content_is_refused_and_hurts_nothing(
    asker: Asker,
) -> None:
    headers = {"Fleet-Job-Id": "taken"}
    await asker.publish("batch", chat("mine"), headers=headers)
    first = await asker.lines("taken")
    await asker.publish("batch", chat("other"), headers=headers)
    letter = await asker.dead_letter("taken")
    assert letter.code == "id_conflict"
    assert "choose a new id" in letter.reason
    assert await asker.raw_lines("taken") == first


@pytest.mark.parametrize("tier", TIERS)
async def test_a_job_past_its_deadline_expires_without_engine_time(asker: Asker, tier: str) -> None:
    past = datetime.fromtimestamp(time.time() - 5, UTC).isoformat()
    (line,) = await asker.ask(tier, chat("late", 1000), headers={"Fleet-Deadline": past})
    assert line.error is not None
    assert line.error.code == "expired"
    assert line.usage is None
    assert line.fleet.run_s == 0


async def test_a_job_that_reaches_its_deadline_keeps_what_is_finished(asker: Asker) -> None:
    soon = datetime.fromtimestamp(time.time() + 4, UTC).isoformat()
    job = chunk([chat("short", 2), chat("endless", 5000)])
    short, endless = await asker.ask("batch", job, headers={"Fleet-Deadline": soon})
    assert text_of(short) == answer_to("short", 2)
    assert endless.error is not None
    assert endless.error.code == "expired"


async def test_a_batch_cancelled_while_it_runs_gives_each_item_one_line(asker: Asker) -> None:
    manifest = await batch(asker, "running")
    headers = {"Fleet-Batch": "running", "Fleet-Job-Id": "job"}
    job = chunk([chat("short", 2), *(chat(f"long{n}", 5000) for n in range(4))])
    await asker.publish("batch", job, headers=headers)
    await asker.some_lines("job", "running")
    await cancel(asker, manifest)
    short, *rest = await asker.lines("job", "running")
    assert text_of(short) == answer_to("short", 2)
    assert [line.error and line.error.code for line in rest] == ["cancelled"] * 4


async def test_a_batch_cancelled_while_it_waits_takes_no_engine_time(asker: Asker) -> None:
    await cancel(asker, await batch(asker, "waiting"))
    headers = {"Fleet-Batch": "waiting", "Fleet-Job-Id": "job"}
    await asker.publish("batch", chat("queued"), headers=headers)
    (line,) = await asker.lines("job", "waiting")
    assert line.error is not None
    assert (line.error.code, line.fleet.run_s) == ("cancelled", 0)


async def test_a_batch_whose_record_is_garbage_is_answered_all_the_same(asker: Asker) -> None:
    key = f"$KV.{BATCHES}.{batch_key(asker.tenant, 'odd')}"
    await asker.connection.append(key, b"no manifest {")
    headers = {"Fleet-Batch": "odd", "Fleet-Job-Id": "odd"}
    await asker.publish("batch", chat("well"), headers=headers)
    (line,) = await asker.lines("odd", "odd")
    assert text_of(line) == answer_to("well")


async def test_usage_is_recorded_by_tenant_and_tier(asker: Asker) -> None:
    await asker.ask("background", chunk([chat("u", 3), chat("v", 4), {"url": "/v1/none"}]))

    async def all_told() -> list[UsageRecorded] | None:
        told = await events_of(asker.connection, UsageRecorded, tenant=asker.tenant)
        return told if sum(one.items for one in told) == 3 else None

    # Of what was written at once there is one record.
    told = await eventually(all_told, "the usage of every item")
    assert {one.tier for one in told} == {Tier.BACKGROUND}
    assert sum(one.jobs for one in told) == 1
    assert sum(one.failed_items for one in told) == 1
    assert sum(one.prompt_tokens for one in told) == 14
    assert sum(one.completion_tokens for one in told) == 7


async def test_without_spot_background_falls_back_at_once_and_batch_waits(
    tmp_path: Path, unique: str
) -> None:
    with running_fleet(tmp_path / "fleet", "--spot", "0") as fleet:
        async with connected(fleet.nats) as connection:
            asker = Asker(connection, unique)
            await asker.publish("batch", chat("patient"), headers={"Fleet-Job-Id": "patient"})
            (line,) = await asker.ask("background", chat("soon"))
            assert line.fleet.capacity_type == "on-demand"
            assert line.fleet.queue_s < 10
            assert await asker.raw_lines("patient") == []
            with running_consumer(tmp_path / "spot", fleet.nats, "spot"):
                (line,) = await asker.lines("patient")
                assert line.fleet.capacity_type == "spot"
                assert text_of(line) == answer_to("patient")
                await nodes_are(connection, 2)
                await on_spot(asker, "background", "back on spot")


async def on_spot(asker: Asker, tier: str, prompt: str) -> None:
    """Have a job answered by spot.

    Its requests end now and then, and for a moment none waits: then background falls back.
    """
    for _ in range(TRIES if tier == "background" else 1):
        (line,) = await asker.ask(tier, chat(prompt, 2))
        if line.fleet.capacity_type == "spot":
            return
    raise AssertionError(f"{tier} runs on {line.fleet.capacity_type}")


async def batch(asker: Asker, name: str) -> Manifest:
    """Write the record of a batch."""
    manifest = Manifest(
        id=name, tenant=asker.tenant, model=MODEL, tier=Tier.BATCH, input_sha256="", input_name="",
        layout=layout_of([5]), created_at=time.time(), state="submitted", submitted_jobs=1,
    )  # fmt: skip
    await Bucket(asker.connection, BATCHES, Manifest).put(batch_key(asker.tenant, name), manifest)
    return manifest


async def cancel(asker: Asker, manifest: Manifest) -> None:
    record = msgspec.structs.replace(manifest, state="cancelling")
    key = batch_key(asker.tenant, manifest.id)
    await Bucket(asker.connection, BATCHES, Manifest).put(key, record)


async def queue_is_empty(asker: Asker, tier: str) -> None:
    async def look() -> bool:
        info = await asker.connection.api(
            f"STREAM.INFO.JOBS_{tier.upper()}",
            {"subjects_filter": f"jobs.{tier}.*.{asker.tenant}"},
        )
        return not info["state"].get("subjects")

    await eventually(look, "an empty queue")


async def nodes_are(connection: Connection, count: int) -> None:
    async def look() -> bool:
        return len(await Nodes(connection).list()) == count

    await eventually(look, f"{count} nodes")
