"""What a scenario can do on the stage; all of it goes into the history."""

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import zip_longest
from typing import Any

from fleet.broker.connection import ApiError, Connection
from fleet.broker.control import ask
from fleet.broker.eventlog import EventLog
from fleet.broker.nodes import Nodes
from fleet.control import DrainOrder, Order
from fleet.errors import BrokerRefused, BrokerUnreachable, NotFound
from fleet.events import NodeStopped
from fleet.evidence import verify
from fleet.node import Node
from fleet.proof import Proof
from tests.asking import Asker, answer_to, chat, chunk
from tests.fault.history import Entry, History, Op
from tests.fault.stage import NODES, Stage

POLL_S = 0.1
IDLE_S = 2.0
TURNS = 3
QUEUE_FULL = 10077
BOUND_S = 120.0
# How long after the healing all work may take, on a machine that is busy with other things.
DRAINED_S = 120.0


class Act:
    """One scenario's hands: it publishes jobs of a tenant of its own, and does harm.

    jobs: what was published, by id: the tokens of each item. odd: jobs whose answer is an error or
    does not matter, by id: how many lines they have to have. others: further tenants, whose tokens
    count as delivered too. turn: of several that share the work of one seed each.
    """

    def __init__(
        self,
        stage: Stage,
        connection: Connection,
        history: History,
        *,
        tenant: str,
        turn: int | None = None,
    ) -> None:
        self.stage = stage
        self.connection = connection
        self.history = history
        self.tenant = tenant
        self.chance = random.Random(tenant)
        self.asker = Asker(connection, tenant)
        self.jobs: dict[str, list[int]] = {}
        self.odd: dict[str, int] = {}
        self.others: list[str] = []
        self.beats: dict[str, Node] = {}
        self._turn = turn
        self._frozen: set[str] = set()

    def note(self, op: Op, actor: str, *, job: str = "", outcome: object = "") -> None:
        self.history.add(Entry(t=time.time(), actor=actor, op=op, job=job, outcome=str(outcome)))

    def share(self, points: Sequence[str]) -> Sequence[str]:
        """Give this turn's third of many things to try; all of them where nobody counts turns."""
        return points if self._turn is None else points[self._turn % TURNS :: TURNS]

    # -- work

    async def publish(
        self, count: int, *, items: int = 4, tokens: tuple[int, int] = (10, 40)
    ) -> None:
        """Publish so many jobs more, each until the broker has confirmed it."""
        for _ in range(count):
            await self.publish_again(self.plan(f"job{len(self.jobs)}", items=items, tokens=tokens))

    def plan(self, job: str, *, items: int = 4, tokens: tuple[int, int] = (10, 40)) -> str:
        """Make up a job without publishing it."""
        self.jobs[job] = [self.chance.randint(*tokens) for _ in range(items)]
        return job

    async def publish_again(self, job: str, *, by: Asker | None = None, **more: object) -> None:
        """Publish it until it is confirmed. by: the client; more: further fields of the body."""
        body = {**chunk(self.requests(job)), **more}
        while True:
            try:
                await (by or self.asker).publish("batch", body, headers={"Fleet-Job-Id": job})
            except (BrokerUnreachable, BrokerRefused) as error:
                full = isinstance(error, ApiError) and error.err_code == QUEUE_FULL
                self.note("publish", "producer", job=job, outcome="full" if full else "unknown")
                await asyncio.sleep(POLL_S)
            else:
                self.note("publish", "producer", job=job, outcome="stored")
                return

    def requests(self, job: str) -> list[dict[str, Any]]:
        return [
            chat(prompt_of(self.tenant, job, n), tokens, temperature=0)
            for n, tokens in enumerate(self.jobs[job])
        ]

    def expected(self, job: str, item: int) -> str:
        return answer_to(prompt_of(self.tenant, job, item), self.jobs[job][item])

    # -- harm

    async def extras(
        self,
        faults: dict[str, str],
        *,
        urls: Sequence[str] = (),
    ) -> None:
        """Start consumers, each with its faults, and wait until they take jobs.

        urls: of the broker, one for each of them.
        """
        for (name, fault), url in zip_longest(faults.items(), urls):
            self.stage.start(name, faults=fault, url=url)
        await self.until(lambda: self.ready(*faults), f"{', '.join(faults)} ready")

    def ready(self, *names: str) -> bool:
        return all(
            (node := self.beats.get(name)) is not None
            and (node.state == "ready" or not self.stage.alive(name))
            for name in names
        )

    async def whole(self) -> None:
        """Wait until all of the fleet's own consumers take jobs."""
        await self.until(
            lambda: len(self.base()) >= NODES and self.ready(*self.base()), "the fleet"
        )

    def base(self) -> list[str]:
        """Name the fleet's own consumers that are alive."""
        return [name for name in self.stage.fleet.of("spot") if self.stage.alive(name)]

    def busy(self) -> list[str]:
        """Name the consumers that have work in hand, by their last beat."""
        return [
            name
            for name, node in self.beats.items()
            if node.items and self.stage.alive(name) and name not in self._frozen
            and (name in self.stage.extras or name in self.stage.fleet.nodes)
        ]  # fmt: skip

    async def victim(self) -> str:
        """Choose a consumer that works; where all is done before we look, there comes more."""
        give_up, more_at = time.monotonic() + BOUND_S, time.monotonic() + IDLE_S
        while not (busy := sorted(self.busy())):
            assert time.monotonic() < give_up, f"waited {BOUND_S:.0f} s in vain for work in hand"
            if time.monotonic() > more_at:
                await self.publish(4)
                more_at = time.monotonic() + IDLE_S
            await asyncio.sleep(POLL_S)
        return self.chance.choice(busy)

    async def at_work(self, *nodes: str) -> None:
        """Wait until all of these have work in hand; where others took it all, there comes more."""
        give_up = time.monotonic() + BOUND_S
        while not set(nodes) <= set(self.busy()):
            assert time.monotonic() < give_up, f"waited {BOUND_S:.0f} s in vain for {nodes} at work"
            await self.publish(8)
            await self.pause(0.3, 0.6)

    def kill(self, node: str) -> None:
        if self.stage.send(node, signal.SIGKILL):
            self.note("kill", node)

    def notice(self, node: str) -> None:
        if self.stage.send(node, signal.SIGTERM):
            self.note("notice", node)

    async def order(self, node: str, order: Order) -> None:
        """Give a node an order as an operator does; one that has just gone cannot obey."""
        try:
            heard = await ask(self.connection, node, order)
        except (NotFound, BrokerUnreachable):
            return
        if isinstance(order, DrainOrder):
            self.note("drain", node, outcome=heard.state)

    def freeze(self, node: str) -> None:
        if self.stage.send(node, signal.SIGSTOP):
            self._frozen.add(node)
            self.note("freeze", node)

    def thaw(self, node: str) -> None:
        self._frozen.discard(node)
        if self.stage.send(node, signal.SIGCONT):
            self.note("thaw", node)

    async def restart_server(self, *, down_s: float) -> None:
        """Kill the broker and bring it back with what it stored."""
        began = time.monotonic()
        self.stage.kill_server()
        await asyncio.sleep(down_s)
        self.stage.start_server()
        self.note("outage", "broker", outcome=f"{time.monotonic() - began:.2f}")

    async def pause(self, low_s: float, high_s: float) -> None:
        """Let the fleet work for a moment of random length: what is hurt should be under way."""
        await asyncio.sleep(self.chance.uniform(low_s, high_s))

    async def until(
        self, holds: Callable[[], bool], what: str, *, bound_s: float = BOUND_S
    ) -> None:
        give_up = time.monotonic() + bound_s
        while not holds():
            assert time.monotonic() < give_up, f"waited {bound_s:.0f} s in vain for {what}"
            await asyncio.sleep(POLL_S)

    async def drained(self, tenant: str | None = None) -> Proof:
        """Wait until all jobs have ended; after a bound, return what is known all the same."""
        give_up = time.monotonic() + DRAINED_S
        while True:
            with suppress(BrokerUnreachable, BrokerRefused):
                proof = await verify(self.connection, tenant=tenant or self.tenant)
                if not proof.open or time.monotonic() > give_up:
                    return proof
            assert time.monotonic() < give_up + BOUND_S, "the broker does not answer"
            await asyncio.sleep(POLL_S)

    # -- sums

    async def follow(self) -> None:
        """Keep the last heartbeat of every node, until cancelled."""
        nodes = Nodes(self.connection)
        while True:
            with suppress(BrokerUnreachable, BrokerRefused):
                self.beats |= {node.node: node for node in await nodes.list()}
            await asyncio.sleep(POLL_S)

    async def generated(self) -> int:
        """Sum the tokens that all nodes made, by their last word."""
        last = {name: node.tokens_generated for name, node in self.beats.items()}
        async for recorded in EventLog(self.connection).read():
            event = recorded.event
            if isinstance(event, NodeStopped) and event.node in last:
                last[event.node] = max(last[event.node], event.tokens_generated)
        return sum(last.values())


def prompt_of(tenant: str, job: str, item: int) -> str:
    """No two items of the whole campaign ask the same: an answer says whose it is."""
    return f"{tenant} {job} item {item}"


@asynccontextmanager
async def acting(act: Act) -> AsyncIterator[None]:
    """Watch the nodes beside the body."""
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(act.follow())
        await act.whole()
        yield
        watching.cancel()
