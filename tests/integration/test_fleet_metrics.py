"""What the exporter, a consumer and a manager tell Prometheus, of a fleet that is up."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from fleet.children import die_with_parent
from tests.asking import MODEL, Asker, chat, eventually
from tests.expositions import PARTS, told
from tests.fleets import QUICK, ROOT, RunningFleet, running_consumer, running_fleet
from tests.integration.brokers import connected
from tests.ports import free_port
from tests.raw import publish_raw
from tests.scraping import exporter, families, get, samples, until
from tests.server import nats_server

PRICE = 2.5
LOOKS = "fleet_manager_looks_total"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with running_fleet(folder, "--spot", "1", "--token-rate", "200") as running:
        yield running


@pytest.fixture(scope="module")
def url(fleet: RunningFleet) -> Iterator[str]:
    with exporter(fleet.nats, "--tenant", "named", "--cost-every", "1") as address:
        until(address, {"fleet_exporter_broker_up": 1})
        yield address


@pytest.fixture(scope="module")
def consumer(fleet: RunningFleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A consumer that may be asked; its name is of a zone that the fleet has not."""
    port = free_port()
    env = {**QUICK, "FLEET_HEALTH_PORT": str(port), "FLEET_ZONE": "z"}
    folder = tmp_path_factory.mktemp("consumer")
    with running_consumer(folder, fleet.nats, "spot", "--price", str(PRICE), env=env):
        address = f"http://127.0.0.1:{port}"
        give_up = time.monotonic() + 60
        while not _ready(address):
            assert time.monotonic() < give_up
            time.sleep(0.2)
        yield f"{address}/metrics"


def _ready(address: str) -> bool:
    try:
        return get(f"{address}/readyz")[0] == 200
    except OSError:
        return False


def test_the_exporter_counts_nodes_queues_and_cost(url: str, consumer: str) -> None:
    wanted = {
        f"fleet_nodes|spot|{MODEL}|ready|z": 1,
        f"fleet_nodes|on-demand|{MODEL}|ready|a": 1,
        f"fleet_queue_waiting_jobs|{MODEL}|batch": 0,
        f"fleet_queue_missing|{MODEL}|batch": 0,
        "fleet_topology_drift": 0,
        "fleet_dead_letters|batch": 0,
        # One node of two told its price, and the other is not taken for free.
        f"fleet_spend_dollars_per_hour|spot|{MODEL}": PRICE,
        f"fleet_unpriced_nodes|spot|{MODEL}": 1,
    }
    found = until(url, wanted)
    assert found["fleet_stream_limit_bytes|JOBS_BATCH"] > 0
    assert f"fleet_spend_dollars_per_hour|on-demand|{MODEL}" not in found
    # Nobody was asked when the server writes to disk: that is unknown, not wrong.
    assert "fleet_broker_sync_always" not in found
    assert get(url.replace("/metrics", "/readyz"))[0] == 200
    assert not [name for name in found if name.startswith("fleet_exporter_unread")]


async def test_dashboards_and_alerts_ask_for_what_real_processes_tell(
    url: str, consumer: str
) -> None:
    # A manager's are tried with it, below; these need a monitor, all prices, and a notice.
    aside = {
        "fleet_broker_sync_always", "fleet_broker_stored_bytes", "fleet_broker_limit_bytes",
        "fleet_cost_saved_dollars", "fleet_node_leaves_time_seconds",
    }  # fmt: skip
    ours = {name for name in told() if name.startswith("fleet_") and not name.endswith(PARTS[1:])}
    made_up = {name.removesuffix("_bucket").removesuffix("_total") for name in ours}
    made_up = {name for name in made_up if not name.startswith("fleet_manager")}

    async def all_told() -> bool:
        return made_up - families(url) - families(consumer) == aside

    # Some of it is read now and then only.
    await eventually(all_told, "all but these", bound_s=60)


async def test_work_shows_up_where_it_is_done(fleet: RunningFleet, url: str, unique: str) -> None:
    async with connected(fleet.nats) as connection:
        await Asker(connection, unique).ask("batch", chat("hello", 5))

    async def shown() -> bool:
        return samples(url)[f"fleet_queue_deliveries_total|{MODEL}|batch"] >= 1

    await eventually(shown, "the delivery")


async def test_a_consumer_tells_what_it_did(
    fleet: RunningFleet, consumer: str, unique: str
) -> None:
    done = "fleet_items_total|ok|batch"
    async with connected(fleet.nats) as connection:
        asker = Asker(connection, unique)
        give_up = time.monotonic() + 60
        while not samples(consumer)[done]:
            assert time.monotonic() < give_up, "the other spot consumer took every job"
            await asker.ask("batch", chat("hello", 5))

    async def told() -> dict[str, float] | None:
        found = samples(consumer)
        ours = {
            "fleet_tokens_total|completion|batch": 5 * found[done],
            "fleet_jobs_total|settled|batch": found[done],
            "fleet_generated_tokens_total": 5 * found[done],
            "fleet_item_run_seconds_count|batch": found[done],
        }
        return found if ours.items() <= found.items() else None

    # Lines can be read a moment before they are counted.
    found = await eventually(told, "counts that go together")
    assert found["fleet_node_state|ready"] == 1
    assert found["fleet_node_broker_connected"] == 1
    assert found["fleet_node_pull_silent_seconds"] < 30
    assert found["fleet_node_price_dollars_per_hour"] == PRICE
    assert found["process_resident_memory_bytes"] > 0


async def test_tenants_are_named_only_where_an_operator_named_them(
    fleet: RunningFleet, url: str, unique: str
) -> None:
    # Nobody serves this model, so what is sent lies there.
    for tenant in ("named", unique):
        body = msgspec.json.encode(chat("x"))
        assert publish_raw(fleet.nats, f"jobs.batch.unserved.{tenant}".encode(), body) == b"PONG"

    async def counted() -> dict[str, float] | None:
        found = samples(url)
        return found if "fleet_tenant_jobs|named|batch" in found or _swept(found) else None

    found = await eventually(counted, "the tenant's jobs, or their dead letters")
    assert unique not in get(url)[1]
    assert not [name for name in found if unique in name]


def _swept(found: dict[str, float]) -> bool:
    """The sweep may be faster than a scrape: then both are dead letters."""
    return found["fleet_dead_letters|batch"] >= 2


def test_without_a_broker_nothing_is_told_but_that(tmp_path: Path) -> None:
    with ExitStack() as stack:
        port = free_port()
        with nats_server(tmp_path, config=f'http: "127.0.0.1:{port}"') as server:
            monitor = f"http://127.0.0.1:{port}"
            url = stack.enter_context(exporter(server.url, "--monitor", monitor))
            # Nothing is set up there: no queue is told, and that is no error.
            found = until(url, {"fleet_exporter_broker_up": 1})
            assert "fleet_stream_messages" not in found
            # But the server tells of itself.
            assert found["fleet_broker_sync_always"] == 0
            assert found["fleet_broker_limit_bytes"] == 64e9
            assert found["fleet_topology_drift"] > 0
        found = until(url, {"fleet_exporter_broker_up": 0})
        assert not [name for name in found if name.startswith("fleet_topology")]
        assert get(url.replace("/metrics", "/readyz"))[0] == 503
        assert get(url.replace("/metrics", "/livez"))[0] == 200


def test_a_manager_tells_that_it_looks_and_what_it_did(nats_url: str, unique: str) -> None:
    port = free_port()
    where = ("--provider", "kubernetes", "--listen", "127.0.0.1:0", "--instance-type", "g6.xlarge")
    command = [sys.executable, "-m", "fleet", "pool", "run", "--model", unique, *where]
    env = {**os.environ, "FLEET_NATS": nats_url, "FLEET_HEALTH_PORT": str(port)}
    with subprocess.Popen(command, cwd=ROOT, env=env, preexec_fn=die_with_parent) as process:
        address = f"http://127.0.0.1:{port}"
        try:
            give_up = time.monotonic() + 60
            while not _ready(address) or not samples(f"{address}/metrics")[LOOKS]:
                assert time.monotonic() < give_up
                time.sleep(0.2)
            found = samples(f"{address}/metrics")
            with exporter(nats_url) as url:
                told = until(url, {f"fleet_pool_paused|{unique}": 0})
        finally:
            process.terminate()
    assert process.returncode == 0
    assert found["fleet_manager_broker_connected"] == 1
    assert found["fleet_manager_look_age_seconds"] < 60
    assert found["fleet_manager_acts_total|launched|spot"] == 0
    # The same pool, as the exporter sees it.
    assert told[f"fleet_pool_wanted_nodes|spot|{unique}"] == 0
    assert told[f"fleet_pool_decided_timestamp_seconds|{unique}"] > time.time() - 300
