"""Provisioning creates what is missing, touches nothing else, and drift is told."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fleet.broker.connection import Connection
from fleet.broker.provision import Drift, drift, provision, served_models
from fleet.errors import BrokerRefused, JobRejected
from fleet.topology import STREAMS, durables
from tests.integration.brokers import connected
from tests.server import nats_server


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[Connection]:
    """A broker of this test alone, with nothing in it."""
    with nats_server(tmp_path) as server:
        async with connected(server.url) as connection:
            yield connection


async def test_everything_is_created_once(empty: Connection) -> None:
    made = await provision(empty, ["smollm2"])
    assert made == [stream.name for stream in STREAMS] + [
        "realtime_smollm2", "background_smollm2", "batch_smollm2",
    ]  # fmt: skip
    assert await provision(empty, ["smollm2"]) == []
    assert await drift(empty, ["smollm2"]) == []


async def test_a_model_is_added_to_a_running_fleet(empty: Connection) -> None:
    await provision(empty, ["smollm2"])
    assert len(await provision(empty, ["smollm2", "minilm"])) == 3
    assert await served_models(empty) == ("minilm", "smollm2")


async def test_what_is_missing_is_drift(empty: Connection) -> None:
    await provision(empty, [])
    found = await drift(empty, ["smollm2"])
    assert [(entry.name, entry.field) for entry in found] == [
        ("realtime_smollm2", "missing"),
        ("background_smollm2", "missing"),
        ("batch_smollm2", "missing"),
    ]


async def test_a_changed_stream_is_told_and_left_alone(empty: Connection) -> None:
    await provision(empty, [])
    tokens = next(stream for stream in STREAMS if stream.name == "TOKENS")
    await empty.api("STREAM.UPDATE.TOKENS", tokens.config() | {"max_bytes": 1_000_000})
    assert await provision(empty, []) == []
    assert await drift(empty, []) == [
        Drift("TOKENS", "max_bytes", str(tokens.max_bytes), "1000000")
    ]


async def test_a_durable_without_its_priorities_is_told(empty: Connection) -> None:
    await provision(empty, ["smollm2"])
    spec = durables("smollm2", ack_wait_s=10)[1]
    config = spec.config()
    del config["priority_groups"], config["priority_policy"]
    path = f"CONSUMER.CREATE.{spec.stream}.{spec.name}.{spec.filter_subject}"
    await empty.api(path, {"stream_name": spec.stream, "config": config, "action": "update"})
    assert {(entry.name, entry.field) for entry in await drift(empty, ["smollm2"])} == {
        ("background_smollm2", "priority_groups"),
        ("background_smollm2", "priority_policy"),
    }


async def test_another_ack_wait_is_drift(empty: Connection) -> None:
    await provision(empty, ["smollm2"], ack_wait_s=3)
    found = await drift(empty, ["smollm2"], 10)
    assert {entry.field for entry in found} == {"ack_wait"}


async def test_a_stream_that_confirms_before_it_writes_is_told(empty: Connection) -> None:
    dead = next(stream for stream in STREAMS if stream.name == "DEAD")
    await empty.api("STREAM.CREATE.DEAD", dead.config() | {"persist_mode": "async"})
    await provision(empty, [])
    assert [(entry.name, entry.field) for entry in await drift(empty, [])] == [
        ("DEAD", "persist_mode")
    ]


async def test_a_refused_creation_names_the_thing_and_the_remedy(empty: Connection) -> None:
    config = {"name": "OTHER", "subjects": ["results.>"], "storage": "memory"}
    await empty.api("STREAM.CREATE.OTHER", config)
    with pytest.raises(BrokerRefused, match=r"RESULTS could not be created.*fleet doctor"):
        await provision(empty, [])


async def test_a_hub_name_is_no_model(empty: Connection) -> None:
    with pytest.raises(JobRejected, match="model"):
        await provision(empty, ["meta/Llama-3.1"])


async def test_a_broker_without_streams_serves_no_model(empty: Connection) -> None:
    assert await served_models(empty) == ()
