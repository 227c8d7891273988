"""A producer's trace, through a real fleet and back with the results."""

from collections.abc import AsyncIterator, Iterator

import pytest

from fleet.broker.connection import Connection
from fleet.broker.stored import messages
from fleet.producer import Producer
from fleet.subjects import RESULTS
from tests.asking import MODEL, Asker, chat
from tests.fleets import QUICK, RunningFleet, running_fleet
from tests.integration.brokers import connected

TRACE = "0af7651916cd43dd8448eb211c80319c"
PRODUCER = f"00-{TRACE}-b7ad6b7169203331-01"
SECRET = "canary-prompt-of-a-trace"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFleet]:
    env = {**QUICK, "OTEL_TRACES_EXPORTER": "console", "FLEET_LOG_FORMAT": "json"}
    folder = tmp_path_factory.mktemp("fleet")
    with running_fleet(folder, "--on-demand", "1", "--spot", "0", env=env) as running:
        yield running
    log = "".join(running.logs().values())
    # What its consumer told of all that these tests sent.
    assert f'"trace_id": "0x{TRACE}"' in log
    assert '"name": "process jobs.realtime.smollm2"' in log
    assert SECRET not in log


@pytest.fixture
async def connection(fleet: RunningFleet) -> AsyncIterator[Connection]:
    async with connected(fleet.nats) as connection:
        yield connection


async def headers_of(connection: Connection, tenant: str, job: str) -> list[dict[str, str]]:
    subject = f"results.{tenant}.*.{job}"
    return [stored.headers async for stored in messages(connection, RESULTS, subject)]


async def test_results_carry_the_trace_of_their_delivery(
    connection: Connection, unique: str
) -> None:
    producer = Producer(connection, tenant=unique)
    ticket = await producer.submit(chat(SECRET), model=MODEL, traceparent=PRODUCER)
    await producer.result(ticket)
    (headers,) = await headers_of(connection, unique, ticket.job)
    version, trace, span, flags = headers["traceparent"].split("-")
    assert (version, trace, flags) == ("00", TRACE, "01")
    assert span != PRODUCER.split("-")[2]


async def test_a_refused_job_carries_the_trace_of_its_producer(
    connection: Connection, unique: str
) -> None:
    asker = Asker(connection, unique)
    headers = {"Fleet-Job-Id": "bad", "traceparent": PRODUCER}
    await asker.publish("realtime", b"{", headers=headers)
    (line,) = await asker.lines("bad")
    assert line.error
    (headers,) = await headers_of(connection, unique, "bad")
    assert headers["traceparent"] == PRODUCER
