"""The incident: a fleet of a dozen nodes at work, and what goes wrong in two minutes of it.

A node is told to go by AWS; another one is killed; a third hangs with a job that does not move; one
costs three times what its neighbours do; jobs are given up, and an operator tries one again.
"""

import asyncio
import io
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from dashboard.acting import OnJob
from fleet.batch_file import bodies, survey
from fleet.batches import Batches, draft
from fleet.broker.connection import Connection
from fleet.broker.eventlog import EventLog
from fleet.broker.nodes import Nodes
from fleet.broker.provision import provision
from fleet.cli.acting import Acting
from fleet.job import Tier
from fleet.settings import Settings
from fleet.subjects import job_subject
from fleet.sweep import sweep_for_ever
from tests.asking import chat, chunk, eventually
from tests.integration.brokers import connected
from tests.metadata.stub import Stub, serving
from tests.server import nats_server
from tests.showcase.crew import Crew, Member, crew

MODEL: Final = "qwen3-8b"
SMALL: Final = "smollm2"
L4, A100, H100 = "g6.2xlarge", "p4d.24xlarge", "p5.4xlarge"
HANGS: Final = "never ends"
# An engine that is silent is left alone for so long that people see it first.
PATIENT: Final = {"FLEET_ALIVE_S": "3600", "FLEET_SCRIPTED_MISHAPS": f"hang={HANGS}"}
STUCK: Final = Member("spot-c-4", "c", 0.42, L4, MODEL, slots=4, env=PATIENT)
LEAVES: Final = "spot-b-2"
KILLED: Final = "spot-a-3"
COSTLY: Final = "spot-c-5"
CREW: Final = (
    Member("on-demand-a-1", "a", 0.98, L4, MODEL),
    Member("on-demand-b-1", "b", 0.98, L4, MODEL),
    Member("on-demand-b-2", "b", 0.98, L4, SMALL),
    Member("spot-a-1", "a", 0.39, L4, MODEL),
    Member("spot-a-2", "a", 0.39, L4, SMALL),
    Member(KILLED, "a", 0.39, L4, MODEL),
    Member("spot-b-1", "b", 0.41, L4, MODEL),
    Member("spot-c-1", "c", 0.42, L4, MODEL),
    Member(COSTLY, "c", 1.93, H100, MODEL, slots=8, rate=32.0),
)
SUCCESSOR: Final = Member("spot-a-4", "a", 0.39, L4, MODEL)
# Before the recording begins the fleet has worked for a while, so that there are rates to show.
WARM_UP_S: Final = 75.0
LENGTH_S: Final = 115.0
NOTICE_AT_S: Final = 4.0
NOTICE_LEFT_S: Final = 120.0
KILL_AT_S: Final = 30.0
BAD_JOBS_AT_S: Final = 12.0
REPLACED_AT_S: Final = 52.0
REQUEUED_AT_S: Final = 70.0
READY_S: Final = 60.0
Say = Callable[[str], None]


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet at work. nats: the broker's address."""

    nats: str
    connection: Connection
    crew: Crew
    cloud: Stub

    async def play(self, say: Say) -> None:
        """Let everything happen, in LENGTH_S seconds."""
        began = time.monotonic()

        async def at(seconds: float, what: str) -> None:
            await asyncio.sleep(began + seconds - time.monotonic())
            say(f"{seconds:.0f} s: {what}")

        await at(NOTICE_AT_S, f"{LEAVES} is told to go")
        self.cloud.gives_notice(left_s=NOTICE_LEFT_S)
        await at(BAD_JOBS_AT_S, "jobs come that are none")
        for n in range(3):
            await _publish(
                self.connection, "initech", b"{not a job", job=f"import-{n}", tier=Tier.REALTIME
            )
        await at(KILL_AT_S, f"{KILLED} is killed")
        self.crew.kill(KILLED)
        await at(REPLACED_AT_S, f"{SUCCESSOR.node} comes in its place")
        self.crew.start(SUCCESSOR)
        await at(REQUEUED_AT_S, "an operator tries a job again")
        acting = Acting(self.connection, Settings(), by="ada at bastion-1")
        question = await acting.consider("requeue", OnJob(tenant="initech", job="import-1"))
        await acting.perform(question, say)
        await at(LENGTH_S, "the end")


@asynccontextmanager
async def scene(say: Say) -> AsyncIterator[Scene]:
    """Set the fleet up and give it work; it has to run WARM_UP_S before there is much to see."""
    with (
        tempfile.TemporaryDirectory(prefix="overbook-") as folder,
        nats_server(Path(folder, "nats")) as server,
        crew(server.url, Path(folder)) as mine,
    ):
        async with (
            connected(server.url) as connection,
            EventLog(connection) as log,
            serving("aws") as cloud,
            asyncio.TaskGroup() as group,
        ):
            await provision(connection, [MODEL, SMALL])
            await _hang(connection, mine, say)
            for member in CREW:
                mine.start(member)
            told = {"FLEET_CLOUD": "aws", "AWS_EC2_METADATA_SERVICE_ENDPOINT": cloud.url}
            mine.start(Member(LEAVES, "b", 0.41, L4, MODEL, env=told))
            await _ready(connection, len(CREW) + 2)
            sweeping = group.create_task(_sweep(connection, log))
            asking = group.create_task(_ask_for_ever(connection))
            await _batches(connection)
            say(f"all are ready; {WARM_UP_S:.0f} s to get warm")
            yield Scene(nats=server.url, connection=connection, crew=mine, cloud=cloud)
            sweeping.cancel()
            asking.cancel()


async def _hang(connection: Connection, mine: Crew, say: Say) -> None:
    """Give a job to the one consumer that is there, whose engine falls silent over it."""
    mine.start(STUCK)
    await _ready(connection, 1)
    requests = [chat("a report of the quarter", 900), *[chat(HANGS, 900)] * 3]
    await _publish(
        connection, "initech", msgspec.json.encode(chunk(requests)), job="quarterly-report"
    )

    async def is_held() -> bool:
        return any(node.jobs for node in await Nodes(connection).list())

    await eventually(is_held, "the delivery", bound_s=READY_S)
    say(f"{STUCK.node} hangs")


async def _ready(connection: Connection, count: int) -> None:
    async def look() -> bool:
        return sum(n.state == "ready" for n in await Nodes(connection).list()) >= count

    await eventually(look, f"{count} nodes", bound_s=READY_S)


async def _batches(connection: Connection) -> None:
    """Submit files of different sizes, one of which will not meet its deadline."""
    await _batch(connection, "umbrella", "labels", SMALL, items=64, tokens=90, window_s=3600)
    await _batch(connection, "globex", "invoices-11", MODEL, items=120, tokens=200, window_s=3600)
    await _batch(connection, "acme", "titles", SMALL, items=900, tokens=120, window_s=None)
    await _batch(connection, "acme", "nightly-eval", MODEL, items=2400, tokens=260, window_s=330)


async def _batch(
    connection: Connection, tenant: str, name: str, model: str, *, items: int, tokens: int,
    window_s: float | None,
) -> None:  # fmt: skip
    lines = (
        {"custom_id": f"row-{n}", **chat(f"{name} {n}", tokens - n % 7 * 10)} for n in range(items)
    )
    file = io.BytesIO(b"\n".join(map(msgspec.json.encode, lines)))
    found = survey(file, chunk=8)
    plan = draft(
        found, tenant=tenant, model=model, input_name=f"{name}.jsonl", now=time.time(),
        batch=name, completion_window_s=window_s,
    )  # fmt: skip
    file.seek(0)
    await Batches(connection, tenant=tenant).submit(plan, bodies(file, found))


async def _ask_for_ever(connection: Connection) -> None:
    """Real-time and background requests, as people and services send them."""
    number = 0
    while True:
        number += 1
        real = msgspec.json.encode(chat(f"question {number}", 60))
        await _publish(connection, "shop", real, tier=Tier.REALTIME, job=_id("chat"))
        if number % 3 == 0:
            more = msgspec.json.encode(chunk([chat(f"mail {number} {n}", 150) for n in range(3)]))
            await _publish(connection, "globex", more, tier=Tier.BACKGROUND, job=_id("mail"))
        await asyncio.sleep(0.8)


async def _sweep(connection: Connection, log: EventLog) -> None:
    await sweep_for_ever(connection, every_s=2.0, emit=log.emit, swept=lambda _: None,
                         realtime_deadline_s=300.0, checkpoint_s=5.0)  # fmt: skip


async def _publish(
    connection: Connection, tenant: str, payload: bytes, *, job: str, tier: Tier = Tier.BATCH
) -> None:
    subject = job_subject(tier, MODEL, tenant)
    await connection.append(subject, payload, headers={"Fleet-Job-Id": job})


def _id(kind: str) -> str:
    return f"{kind}-{secrets.token_hex(3)}"
