"""The play: bring a fleet up, give it a batch, hurt it twice, and look at what came of it."""

import asyncio
import io
import time
from collections.abc import Callable
from importlib.resources import files
from typing import Final

import msgspec

from fleet.batch_file import bodies, survey
from fleet.batches import Batches, draft
from fleet.broker.claims import Claims
from fleet.broker.results import ResultLog
from fleet.demo.audit import Audit, Interruption, Life, cost, count_lines, delivered
from fleet.demo.leftovers import left_behind
from fleet.demo.traffic import TENANT, Traffic
from fleet.demo.watcher import Watcher
from fleet.errors import JobFailed
from fleet.events import JobReleased, JobTakenOver, NodeReady, NodeStopped
from fleet.job import ResultLine, Tier
from fleet.manifest import Manifest, job_id
from fleet.pool.fleet_up import Ended, Fleet, FleetPlan, fleet_up
from fleet.pool.local import LocalNode

CHUNK: Final = 6
# The batch may be quicker than the replacement loads; then the notice comes anyway.
NOTICE_AT: Final = 0.7
ACT_S: Final = 120.0
Say = Callable[[str], None]
OnProgress = Callable[[int, int], None]


def prompts() -> bytes:
    """Return the demo's batch, a file of OpenAI Batch lines."""
    return (files("fleet.demo") / "prompts.jsonl").read_bytes()


class Play:
    """The acts in order. Every wait is bounded; a wait that ends without its event is a failure."""

    def __init__(self, fleet: Fleet, *, model: str, say: Say, on_progress: OnProgress) -> None:
        self._fleet = fleet
        self._model = model
        self._say = say
        self._on_progress = on_progress
        self._connection = fleet.connection
        self._batches = Batches(fleet.connection, tenant=TENANT)
        self._done = 0
        self.watcher = Watcher(fleet.connection)
        self.traffic = Traffic(fleet.connection, model=model)
        self.interruptions: list[Interruption] = []
        self.raw_lines: list[ResultLine] = []
        self.undisturbed: dict[str, tuple[ResultLine, ResultLine]] = {}

    async def run(self) -> Manifest:
        """Play all acts."""
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self.watcher.follow())
            traffic = group.create_task(self.traffic.run())
            manifest = await self._submit()
            counting = group.create_task(self._count(manifest))
            await self._bounded("kill -9", self._kill_one(manifest))
            await self._bounded("notice", self._notice_other(manifest))
            await counting
            self.traffic.stop()
            await traffic
            self._say("all items are there; asking again for the interrupted ones, undisturbed")
            await self._ask_again(manifest)
            await self._bounded("heartbeats", self._last_beats())
            watching.cancel()
        return manifest

    async def _submit(self) -> Manifest:
        raw = prompts()
        checked = survey(io.BytesIO(raw), model=None, chunk=CHUNK)
        plan = draft(
            checked, tenant=TENANT, model=self._model, input_name="prompts.jsonl", now=time.time(),
            batch=None,
        )  # fmt: skip
        manifest = await self._batches.submit(plan, bodies(io.BytesIO(raw), checked))
        self._say(f"batch of {manifest.items} prompts submitted as {manifest.jobs} jobs; real-time "
                  "and background requests run beside it")  # fmt: skip
        return manifest

    async def _count(self, manifest: Manifest) -> None:
        async for status in self._batches.watch(manifest.id):
            self._done = status.request_counts.done
            self._on_progress(self._done, manifest.items)

    async def _kill_one(self, manifest: Manifest) -> None:
        """Kill a spot consumer as soon as a checkpoint of its running items is saved."""
        victim = None
        while victim is None:
            victim = await self._owner(manifest)
            await asyncio.sleep(0.1)
        began = time.time()
        self._fleet.pool.kill(victim.node)
        self._say(f"kill -9 of {victim.node} in mid-batch")
        await self.watcher.until(lambda: self._taken(victim, began) is not None)
        taken = self._taken(victim, began)
        if taken is None:
            raise JobFailed("the watcher forgot an event")
        self._say(f"{taken.node} goes on with {taken.items_done} finished items and "
                  f"{taken.tokens_saved} saved tokens after {taken.at - began:.1f} s")  # fmt: skip
        self.interruptions.append(Interruption(
            kind="kill -9", node=victim.node, went_on_s=taken.at - began, taken_by=taken.node
        ))  # fmt: skip

    async def _notice_other(self, manifest: Manifest) -> None:
        """Give notice to the spot consumer that is left, once there is another one to take over."""
        await self.watcher.until(lambda: self._spots_ready() > 1 or
                                 self._done >= NOTICE_AT * manifest.items)  # fmt: skip
        victim = None
        while victim is None:
            victim = await self._owner(manifest, saved=False)
            await asyncio.sleep(0.05)
        began = time.time()
        self._fleet.pool.notice(victim.node)
        self._say(f"notice to {victim.node}")
        await self.watcher.until(lambda: self._handed(victim, began) is not None)
        taken = self._handed(victim, began)
        if taken is None:
            raise JobFailed("the watcher forgot an event")
        self._say(f"{taken.node} goes on with {taken.items_done} finished items and "
                  f"{taken.tokens_saved} saved tokens after {taken.at - began:.2f} s")  # fmt: skip
        self.interruptions.append(Interruption(
            kind="notice", node=victim.node, went_on_s=taken.at - began, taken_by=taken.node
        ))  # fmt: skip

    def _spots_ready(self) -> int:
        ready = {event.node for event in self.watcher.of(NodeReady)}
        return sum(
            n.capacity_type == "spot" and n.node in ready for n in self._fleet.pool.running()
        )

    async def _owner(self, manifest: Manifest, *, saved: bool = True) -> LocalNode | None:
        """Find a spot consumer with a claim on one of the batch's jobs, and saved tokens in it."""
        claims = Claims(self._connection)
        for number in range(manifest.jobs):
            held = await claims.get(TENANT, job_id(manifest.id, number))
            if held is None or held.claim is None or (saved and not held.claim.saved):
                continue
            for node in self._fleet.pool.running():
                if node.node == held.claim.owner and node.capacity_type == "spot":
                    return node
        return None

    def _taken(self, victim: LocalNode, since: float) -> JobTakenOver | None:
        found = (
            event
            for event in self.watcher.of(JobTakenOver)
            if event.from_node == victim.node and event.at >= since
        )
        return next(found, None)

    def _handed(self, victim: LocalNode, since: float) -> JobTakenOver | None:
        released = {
            event.job: event.at
            for event in self.watcher.of(JobReleased)
            if event.node == victim.node and event.at >= since
        }
        found = (
            event
            for event in self.watcher.of(JobTakenOver)
            if event.job in released and event.at >= since
        )
        return next(found, None)

    async def _ask_again(self, manifest: Manifest) -> None:
        log = ResultLog(self._connection)
        async for message in log.follow(TENANT, manifest.id):
            self.raw_lines += message.lines
        requests = {msgspec.json.decode(line)["custom_id"]: line for line in prompts().splitlines()}
        interrupted = [line for line in self.raw_lines if line.fleet.resumed != "no"]
        async with asyncio.TaskGroup() as group:
            for line in interrupted:
                group.create_task(self._compare(line, requests[line.custom_id or ""]))

    async def _compare(self, line: ResultLine, request: bytes) -> None:
        (again,) = await self.traffic.ask(request, Tier.REALTIME)
        self.undisturbed[line.id] = (line, again)

    async def _last_beats(self) -> None:
        now = time.time()
        alive = [node.node for node in self._fleet.pool.running()]
        await self.watcher.until(
            lambda: all(
                name in self.watcher.beats and self.watcher.beats[name].at > now for name in alive
            )
        )

    async def _bounded(self, act: str, play: "asyncio.Future[None] | object") -> None:
        try:
            async with asyncio.timeout(ACT_S):
                await play  # type: ignore[misc]
        except TimeoutError as error:
            raise JobFailed(
                f"the act '{act}' did not come to its end in {ACT_S:.0f} s: "
                "is the machine busy? try again, or look at the logs"
            ) from error


async def play(plan: FleetPlan, *, say: Say, on_progress: OnProgress) -> Audit:
    """Run the demonstration and return its audit."""
    ends: dict[str, float] = {}

    def ended(end: Ended) -> None:
        ends[end.node.node] = time.time()
        if end.replacement:
            say(f"{end.replacement.node} takes the place of {end.node.node} and loads its engine")

    async with fleet_up(plan, on_ended=ended) as fleet:
        say("the fleet is up: " + ", ".join(node.node for node in fleet.pool.running()))
        acts = Play(fleet, model=plan.model, say=say, on_progress=on_progress)
        manifest = await acts.run()
        nodes = list(fleet.pool.nodes.values())
        stopped = time.time()
    lives = [
        Life(
            node=node.node,
            capacity_type=node.capacity_type,
            seconds=ends.get(node.node, stopped) - node.started_at,
        )
        for node in nodes
    ]
    return _audit(acts, manifest, plan, lives, left_behind([node.pid for node in nodes]))


def _audit(
    acts: Play, manifest: Manifest, plan: FleetPlan, lives: list[Life], left: tuple[int, ...]
) -> Audit:
    counts = count_lines(acts.raw_lines)
    realtime, background = (acts.traffic.answers[t] for t in (Tier.REALTIME, Tier.BACKGROUND))
    again = [other for _, other in acts.undisturbed.values()]
    tokens = delivered([*acts.raw_lines, *realtime, *background, *again])
    made = {name: node.tokens_generated for name, node in acts.watcher.beats.items()}
    made |= {event.node: event.tokens_generated for event in acts.watcher.of(NodeStopped)}
    interrupted: dict[str, int] = {}
    for line, _ in acts.undisturbed.values():
        interrupted[line.fleet.resumed] = interrupted.get(line.fleet.resumed, 0) + 1
    paid, on_demand = cost(lives, plan.prices_usd_per_hour)
    return Audit(
        engine=plan.engine,
        items=manifest.items,
        missing=manifest.items - len(counts),
        doubled=sum(count - 1 for count in counts.values()),
        failed=sum(line.error is not None for line in [*acts.raw_lines, *realtime, *background]),
        interrupted=interrupted,
        compared=len(acts.undisturbed),
        wrong=sum(_text(one) != _text(other) for one, other in acts.undisturbed.values()),
        tokens_delivered=tokens,
        tokens_generated=sum(made.values()),
        tokens_again=max(0, sum(made.values()) - tokens),
        interruptions=tuple(acts.interruptions),
        realtime_answers=len(realtime),
        background_answers=len(background),
        background_on_spot=sum(line.fleet.capacity_type == "spot" for line in background),
        cost_usd=paid,
        on_demand_usd=on_demand,
        left_behind=left,
    )


def _text(line: ResultLine) -> object:
    return line.response and [c["message"]["content"] for c in line.response.body["choices"]]
