"""Running a drill: work for the victim, a blow, and watching who goes on with it.

Times are told by the server's clock where they come from nodes, for the clocks of nodes differ.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from fleet.broker.claims import Held
from fleet.broker.clock import ServerClock
from fleet.broker.connection import Connection
from fleet.broker.control import ask
from fleet.broker.durables import ack_wait_of
from fleet.broker.eventlog import EventLog
from fleet.broker.nodes import Nodes
from fleet.broker.permit import Mark, alone, check_allowed
from fleet.control import DrainOrder, HurtOrder, ResumeOrder
from fleet.drill import Facts, Kind, Report, Taken, judge, order_of, victims
from fleet.drill_probes import Probes, pace
from fleet.errors import BrokerRefused, BrokerUnreachable, NotFound, UsageError
from fleet.events import JobReleased, JobTakenOver
from fleet.job import Tier
from fleet.node import Node
from fleet.subjects import BROKER, CLAIMS
from fleet.topology import bucket_stream

POLL_S: Final = 0.1
# The blow falls anywhere between two checkpoints.
SOME_S: Final = 2.0
Say = Callable[[str], None]
Bar = Callable[[str, int, int], None]
Sure = Callable[[Sequence[Node]], Awaitable[None]]


class DrillPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What is done to whom, and the probes that tell what came of it.

    node, zone: who is hit. on_demand: whether on-demand nodes may be. left_s: of a notice, None for
    what the cloud gives. items, tokens: of each probe. wait_s: within which work has to be done
    again. checkpoint_s: of the nodes. restart: restarts a broker that is not ours, None for one
    that `fleet up` runs. by: who drills.
    """

    kind: Kind
    node: str | None = None
    zone: str | None = None
    on_demand: bool = False
    left_s: float | None = None
    tenant: str = "drill"
    items: int = 4
    tokens: int = 400
    wait_s: float = 300.0
    checkpoint_s: float = 5.0
    restart: Callable[[], Awaitable[None]] | None = None
    by: str = "somebody"


class Drill:
    """One drill. sure: told whom it hits before anything is done; raises to stop it."""

    def __init__(
        self, connection: Connection, plan: DrillPlan, *, say: Say, bar: Bar, sure: Sure
    ) -> None:
        self._connection = connection
        self._plan = plan
        self._say = say
        self._bar = bar
        self._sure = sure
        self._noticed: set[str] = set()
        self._idle_s = 0.0
        self._nodes = Nodes(connection)
        self._events = EventLog(connection)
        self._clock = ServerClock(connection, bucket_stream(CLAIMS))
        self._probes = Probes(connection, tenant=plan.tenant, items=plan.items, tokens=plan.tokens)

    async def run(self) -> Report:
        """Drill, heal, and judge.

        Raises UsageError where a guard rail stands in the way, NotFound where there is nobody to
        hit, BrokerUnreachable, BrokerRefused.
        """
        plan = self._plan
        await check_allowed(self._connection)
        nodes = await self._nodes.list()
        hit = victims(nodes, plan.kind, node=plan.node, zone=plan.zone, on_demand=plan.on_demand)
        # Of all nodes, if the broker is hit; work for spot waits, and is no strain on anybody.
        ready = sorted(
            (n for n in hit or nodes if n.state == "ready"), key=lambda n: n.capacity_type != "spot"
        )
        chosen = next(iter(ready), None)
        if chosen is None:
            raise NotFound("no node is ready: `fleet nodes` tells what they wait for")
        await self._sure(hit)
        mark = Mark(by=plan.by, token=self._probes.name)
        async with alone(self._connection, mark, for_s=2 * plan.wait_s):
            return await self._drill(nodes, hit, chosen)

    async def _drill(self, nodes: Sequence[Node], hit: Sequence[Node], chosen: Node) -> Report:
        plan, names = self._plan, frozenset(node.node for node in hit)
        tier = Tier.BATCH if chosen.capacity_type == "spot" else Tier.REALTIME
        try:
            async with asyncio.timeout(plan.wait_s):
                await self._probes.reach(names, model=chosen.model, tier=tier, said=self._say)
        except TimeoutError as error:
            raise UsageError(
                f"the probes were not begun within {plan.wait_s:.0f} s, for other jobs are before "
                "them: drill when the queue is shorter, or give more time; `fleet cancel` ends them"
            ) from error
        await asyncio.sleep(random.uniform(0, SOME_S))
        ack_wait_s = await ack_wait_of(self._connection, tier, chosen.model)
        last_event = await self._events.last()
        held = await self._probes.held(names)
        blow_at = await self._clock.now()
        back_s = recovered_s = None
        taken: list[Taken] = []
        try:
            if plan.kind == "server":
                back_s, recovered_s = await self._restart_server(nodes)
            else:
                await self._hit(hit, ack_wait_s)
            async with asyncio.timeout(plan.wait_s):
                await self._watch(taken, last_event, blow_at, held)
        except TimeoutError:
            self._say(f"not all work was done within {plan.wait_s:.0f} s")
        finally:
            await self._call_back(self._noticed)
        lost, doubled, going = await self._probes.count()
        lines = await self._probes.lines()
        return judge(
            Facts(
                kind=plan.kind,
                nodes=tuple(sorted(names)),
                jobs=len(self._probes.jobs),
                items=self._items,
                lost=lost,
                doubled=doubled,
                failed=sum(line.error is not None for line in lines),
                open=going,
                taken=tuple(taken),
                pace=pace(lines, held),
                slots=chosen.slots,
                ack_wait_s=ack_wait_s,
                checkpoint_s=plan.checkpoint_s,
                back_s=back_s,
                recovered_s=recovered_s,
                idle_s=self._idle_s,
                price_usd_per_hour=chosen.price_usd_per_hour,
            )
        )

    async def _hit(self, hit: Sequence[Node], ack_wait_s: float) -> None:
        order = order_of(self._plan.kind, left_s=self._plan.left_s, ack_wait_s=ack_wait_s)
        async with asyncio.TaskGroup() as group:
            for node in hit:
                group.create_task(ask(self._connection, node.node, order))
                if isinstance(order, DrainOrder):
                    self._noticed.add(node.node)
        if isinstance(order, HurtOrder) and order.how == "freeze":
            self._idle_s = order.for_s * len(hit)
        self._say(f"{self._plan.kind}: {', '.join(node.node for node in hit)}")

    async def _restart_server(self, nodes: Sequence[Node]) -> tuple[float, float | None]:
        """Return how long the broker was away, and until all nodes beat again, if they do."""
        clock = asyncio.get_running_loop()
        began = clock.time()
        if self._plan.restart is not None:
            await self._plan.restart()
        else:
            try:
                await ask(self._connection, BROKER, HurtOrder(how="kill"))
            except NotFound as error:
                raise UsageError(
                    "no `fleet up` runs this broker: say how it is restarted with --with, such as "
                    "--with 'systemctl restart nats-server'"
                ) from error
            await asyncio.sleep(POLL_S)
        back_at = await self._answers(give_up=began + self._plan.wait_s)
        back = clock.time()
        self._say(f"the broker answers again after {back - began:.2f} s")
        silent = {node.node for node in nodes}
        while silent:
            if clock.time() - back > self._plan.wait_s:
                return back - began, None
            with suppress(BrokerUnreachable, BrokerRefused):
                beats = await self._nodes.beats()
                silent -= {name for name, beaten_at in beats.items() if beaten_at > back_at}
            await asyncio.sleep(POLL_S)
        self._say(f"all nodes beat again after {clock.time() - back:.2f} s more")
        return back - began, clock.time() - back

    async def _answers(self, *, give_up: float) -> float:
        """Wait until the broker answers; return its time."""
        while True:
            try:
                return await ServerClock(self._connection, bucket_stream(CLAIMS)).now()
            except (BrokerUnreachable, BrokerRefused):
                if asyncio.get_running_loop().time() > give_up:
                    raise
            await asyncio.sleep(POLL_S)

    async def _watch(
        self, taken: list[Taken], after: int, blow_at: float, held: dict[str, Held]
    ) -> None:
        """Follow EVENTS until every probe has ended, and note who took what over."""
        released: dict[str, float] = {}
        while True:
            with suppress(BrokerUnreachable, BrokerRefused):
                async for recorded in self._events.read(after):
                    after, event = recorded.sequence, recorded.event
                    match event:
                        case JobReleased(tenant=tenant, job=job) if self._is_ours(tenant, job):
                            released[job] = recorded.written_at
                        case JobTakenOver(tenant=tenant, job=job) if self._is_ours(tenant, job):
                            since = released.get(job, blow_at) if event.released else blow_at
                            after_s = max(0.0, recorded.written_at - since)
                            taken.append(self._taken(event, after_s, held.get(job)))
                            self._say(f"{event.node} goes on with {job} after {after_s:.2f} s")
                await self._call_back(await self._drained())
                self._bar("requests answered", await self._probes.done(), self._items)
                if await self._probes.ended():
                    return
            await asyncio.sleep(POLL_S)

    @property
    def _items(self) -> int:
        return len(self._probes.jobs) * self._plan.items

    def _is_ours(self, tenant: str, job: str) -> bool:
        return tenant == self._plan.tenant and job in self._probes.jobs

    def _taken(self, event: JobTakenOver, after_s: float, held: Held | None) -> Taken:
        return Taken(
            job=event.job,
            by=event.node,
            released=event.released,
            after_s=after_s,
            # Without a claim nothing was saved yet, and that since an interval at most.
            unsaved_s=held.age_s if held else self._plan.checkpoint_s,
            items=self._plan.items - event.items_done,
        )

    async def _drained(self) -> set[str]:
        """Name those who had notice and hold nothing any more: a drill has no use for their end."""
        if not self._noticed:
            return set()
        nodes = await self._nodes.list()
        return {n.node for n in nodes if n.node in self._noticed and n.state == "drained"}

    async def _call_back(self, names: Collection[str]) -> None:
        for name in sorted(names):
            self._noticed.discard(name)
            with suppress(NotFound, BrokerUnreachable, BrokerRefused):
                heard = await ask(self._connection, name, ResumeOrder(source="drill"))
                self._say(f"{name} is called back, and {heard.state}")
