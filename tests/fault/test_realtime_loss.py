"""A real-time answer outlives its node: its reader sees a pause, and no token twice or otherwise.

Tokens come from chance here. An answer that was begun again, or went on from anywhere but from what
its reader had seen, would differ.
"""

import asyncio
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, aclosing, asynccontextmanager
from pathlib import Path

import pytest

from fleet.broker.connection import Connection
from fleet.broker.nodes import Nodes
from fleet.broker.provision import provision
from fleet.broker.tokens import TokenStream
from fleet.errors import JobFailed
from fleet.events import JobLost
from fleet.live_answer import choices
from fleet.producer import Producer, Ticket
from tests.asking import MODEL, chat, event_of, eventually
from tests.fault.samplers import Samplers, samplers
from tests.fleets import QUICK
from tests.integration.brokers import connected
from tests.integration.cli import end, start
from tests.server import NatsServer, nats_server

ACK_WAIT_S = float(QUICK["FLEET_ACK_WAIT_S"])
LONG_S = 30.0
# What a machine that is busy with other things takes to go on.
LATE_S = 10.0
RATE = 20
TOKENS = 120
ENOUGH = 30  # tokens that are read before the blow
BOUND_S = 60.0
PIECE = len("1f0c2a ")


class Scene:
    """A broker, two consumers, and a job that one of them serves."""

    def __init__(self, connection: Connection, fleet: Samplers, tenant: str) -> None:
        self.connection = connection
        self.fleet = fleet
        self.tenant = tenant
        self.producer = Producer(connection, tenant=tenant)

    async def ask(self, tokens: int = TOKENS) -> Ticket:
        return await self.producer.submit(chat("p", tokens), model=MODEL, job_id="job")

    async def owner(self) -> str:
        """Name the consumer that has the job."""

        async def look() -> str | None:
            nodes = await Nodes(self.connection).list()
            return next((node.node for node in nodes if node.jobs), None)

        return await eventually(look, "a node with the job")

    async def ready(self, count: int = 2) -> None:
        async def look() -> bool:
            nodes = await Nodes(self.connection).list()
            return sum(node.state == "ready" for node in nodes) == count

        await eventually(look, f"{count} ready nodes")

    def send(self, node: str, blow: signal.Signals) -> None:
        self.fleet.processes[node].send_signal(blow)

    async def check(self, ticket: Ticket, text: str, tokens: int = TOKENS) -> None:
        """Compare what was read with the result, and with what the stream holds."""
        (line,) = await self.producer.result(ticket)
        assert line.error is None, line.error
        (choice,) = choices(line)
        assert text == choice.text
        assert len(text) == PIECE * tokens
        assert (line.usage or {})["completion_tokens"] == tokens
        said = await TokenStream(self.connection).read(self.tenant, None, "job")
        deltas = [message.delta for message in said if message.delta]
        # Nothing was ever told twice.
        offsets = [delta.offset for delta in deltas if delta.token_ids]
        ends = [delta.offset + len(delta.token_ids) for delta in deltas if delta.token_ids]
        assert offsets == [0, *ends[:-1]]
        assert ends[-1] == tokens


class Reader:
    """Reads a live answer and trusts nothing."""

    def __init__(self, begin: int = 0) -> None:
        self.begin = begin
        self.text = ""
        self.longest_pause_s = 0.0
        self._heard_at: float | None = None
        self._grew = asyncio.Event()

    async def read(self, scene: Scene, ticket: Ticket) -> str:
        stream = scene.producer.follow(ticket.job, from_offset=self.begin)
        async with asyncio.timeout(BOUND_S), aclosing(stream) as deltas:
            tokens = None
            async for delta in deltas:
                assert delta.text_offset == self.begin + len(self.text)
                assert tokens is None or delta.offset == tokens or not delta.token_ids
                tokens = delta.offset + len(delta.token_ids)
                self._hear(delta.text)
        return self.text

    async def has(self, tokens: int) -> None:
        async with asyncio.timeout(BOUND_S):
            while len(self.text) < PIECE * tokens:
                self._grew.clear()
                await self._grew.wait()

    def _hear(self, text: str) -> None:
        now = time.monotonic()
        if self._heard_at is not None:
            self.longest_pause_s = max(self.longest_pause_s, now - self._heard_at)
        self._heard_at = now
        self.text += text
        self._grew.set()


@asynccontextmanager
async def scene_at(
    folder: Path, server: NatsServer, tenant: str, **env: str
) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(connected(server.url))
        ack_wait_s = float(env.get("FLEET_ACK_WAIT_S", ACK_WAIT_S))
        await provision(connection, [MODEL], ack_wait_s=ack_wait_s)
        fleet = stack.enter_context(
            samplers(folder / "fleet", server.url, "one", "two", rate=RATE, env=env)
        )
        scene = Scene(connection, fleet, tenant)
        await scene.ready()
        yield scene


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with ExitStack() as stack:
        yield stack.enter_context(nats_server(tmp_path / "nats"))


@pytest.mark.parametrize("checkpoint_s", ["0.5", "60"], ids=["checkpoints", "no checkpoint"])
async def test_a_kill_is_a_pause(
    tmp_path: Path, server: NatsServer, unique: str, checkpoint_s: str
) -> None:
    async with scene_at(tmp_path, server, unique, FLEET_CHECKPOINT_S=checkpoint_s) as scene:
        ticket, reader = await scene.ask(), Reader()
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(reader.read(scene, ticket))
            await reader.has(ENOUGH)
            scene.send(await scene.owner(), signal.SIGKILL)
        await scene.check(ticket, reading.result())
        assert reader.longest_pause_s < ACK_WAIT_S + LATE_S
        (line,) = await scene.producer.result(ticket)
        assert line.fleet.interruptions == 1
        assert line.fleet.resumed != "restarted"


async def test_a_notice_is_a_short_pause(tmp_path: Path, server: NatsServer, unique: str) -> None:
    env = {"FLEET_DRAIN_S": "2.5", "FLEET_DRAIN_RESERVE_S": "2", "FLEET_ACK_WAIT_S": f"{LONG_S:g}"}
    async with scene_at(tmp_path, server, unique, **env) as scene:
        ticket, reader = await scene.ask(), Reader()
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(reader.read(scene, ticket))
            await reader.has(ENOUGH)
            scene.send(await scene.owner(), signal.SIGTERM)
        await scene.check(ticket, reading.result())
        # Half a second on a machine that is not busy; a lease that had to lapse would be seen.
        assert reader.longest_pause_s < LONG_S / 2
        (line,) = await scene.producer.result(ticket)
        assert line.fleet.interruptions == 1


async def test_a_consumer_that_froze_and_comes_back_is_not_heard(
    tmp_path: Path, server: NatsServer, unique: str
) -> None:
    async with scene_at(tmp_path, server, unique) as scene:
        ticket, reader = await scene.ask(), Reader()
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(reader.read(scene, ticket))
            await reader.has(ENOUGH)
            zombie = await scene.owner()
            scene.send(zombie, signal.SIGSTOP)
            try:
                await reader.has(ENOUGH + 20)
            finally:
                scene.send(zombie, signal.SIGCONT)
            await event_of(scene.connection, JobLost, tenant=unique, node=zombie)
        await scene.check(ticket, reading.result())
        said = await TokenStream(scene.connection).read(unique, None, "job")
        writers = [message.writer for message in said]
        assert len(set(writers)) == 2
        assert writers == sorted(writers, key=writers.index), "one after the other"


async def test_readers_may_come_late_and_come_back_at_any_character(
    tmp_path: Path, server: NatsServer, unique: str
) -> None:
    async with scene_at(tmp_path, server, unique) as scene:
        ticket = await scene.ask()
        first, late = Reader(), Reader()
        async with asyncio.TaskGroup() as group:
            leaving = group.create_task(first.read(scene, ticket))
            await first.has(ENOUGH)
            leaving.cancel()
            scene.send(await scene.owner(), signal.SIGKILL)
            back = Reader(begin=len(first.text) - 3)
            again = group.create_task(back.read(scene, ticket))
            joined = group.create_task(late.read(scene, ticket))
        assert back.text.startswith(first.text[-3:])
        assert joined.result() == first.text[:-3] + again.result()
        await scene.check(ticket, joined.result())


async def test_a_broker_that_is_killed_and_restarted_is_a_pause(
    tmp_path: Path, unique: str
) -> None:
    store = tmp_path / "nats"
    with ExitStack() as servers:
        server = servers.enter_context(nats_server(store))
        async with scene_at(tmp_path, server, unique) as scene:
            ticket, reader = await scene.ask(), Reader()
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(reader.read(scene, ticket))
                process = await start(server.url, "attach", "job", "--tenant", unique)
                attached = group.create_task(end(process))
                for enough in (ENOUGH, 2 * ENOUGH):
                    await reader.has(enough)
                    server.process.kill()
                    server.process.wait()
                    server = servers.enter_context(nats_server(store, port=server.port))
            (line,) = await scene.producer.result(ticket)
            (choice,) = choices(line)
            assert reading.result() == choice.text
            assert len(choice.text) == PIECE * TOKENS
            assert (attached.result().code, attached.result().out) == (0, choice.text + "\n")


async def test_an_answer_that_must_be_begun_again_is_said_at_its_first_other_token(
    tmp_path: Path, server: NatsServer, unique: str
) -> None:
    async with scene_at(tmp_path, server, unique) as scene:
        request = chat("p", TOKENS, n=2)  # two choices are not kept
        ticket = await scene.producer.submit(request, model=MODEL, job_id="job")
        before = victim = ""
        with pytest.raises(JobFailed, match="begun again") as failed:
            async with asyncio.timeout(BOUND_S), aclosing(scene.producer.stream(ticket)) as deltas:
                async for delta in deltas:
                    before += delta.text if delta.choice == 0 else ""
                    if len(before) >= PIECE * ENOUGH and not victim:
                        victim = await scene.owner()
                        scene.send(victim, signal.SIGKILL)
        assert failed.value.code == "answer_restarted"
        after: defaultdict[int, str] = defaultdict(str)
        async with asyncio.timeout(BOUND_S), aclosing(scene.producer.stream(ticket)) as deltas:
            async for delta in deltas:
                assert delta.text_offset == len(after[delta.choice])
                after[delta.choice] += delta.text
        (line,) = await scene.producer.result(ticket)
        assert [after[0], after[1]] == [choice.text for choice in choices(line)]
        assert after[0][:PIECE] != before[:PIECE]
        assert line.fleet.resumed == "restarted"


async def test_blow_after_blow_the_answer_is_one(
    tmp_path: Path, server: NatsServer, unique: str
) -> None:
    async with scene_at(tmp_path, server, unique) as scene:
        ticket, reader = await scene.ask(), Reader()
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(reader.read(scene, ticket))
            for number, tokens in enumerate((10, 40, 70)):
                await reader.has(tokens)
                owner = await scene.owner()
                scene.send(owner, signal.SIGKILL)
                scene.fleet.start(f"heir-{number}")
        await scene.check(ticket, reading.result())
        (line,) = await scene.producer.result(ticket)
        assert line.fleet.interruptions == 3
