"""The play: keep a fleet busy with a batch, hurt it twice, and gather what came of it."""

import asyncio
import io
import time
from collections.abc import Callable, Coroutine, Iterator
from importlib.resources import files
from typing import Final, TypeVar

import msgspec

from fleet.batch_file import bodies, survey
from fleet.batches import Batches, draft
from fleet.broker.claims import Claims
from fleet.broker.results import ResultLog
from fleet.demo.audit import Interruption
from fleet.demo.traffic import TENANT, Traffic
from fleet.demo.watcher import Watcher
from fleet.errors import JobFailed
from fleet.events import JobReleased, JobTakenOver, NodeReady, PoolDecided
from fleet.job import ResultLine, Tier
from fleet.manifest import Manifest, job_id
from fleet.pool.fleet_up import Fleet
from fleet.pool.local import LocalNode

T = TypeVar("T")
CHUNK: Final = 4
# When fewer items than this are left, the next batch goes in: both interruptions need work to hurt,
# however fast the machine is.
REFILL_ITEMS: Final = 24
ACT_S: Final = 150.0
# Two engines load at a time.
LOAD_S: Final = 300.0
# Far enough away that spot is waited for, and near enough to be a deadline.
WINDOW_S: Final = 1200.0
# Enough that going on from them is worth seeing, and then some that are lost with the node.
SAVED_TOKENS: Final = 60
HALF_INTERVAL_S: Final = 2.5
POLL_S: Final = 0.05
Say = Callable[[str], None]
Bar = Callable[[str, int, int], None]


def prompts() -> bytes:
    """Return the demo's batch, a file of OpenAI Batch lines."""
    return (files("fleet.demo") / "prompts.jsonl").read_bytes()


class Play:
    """The acts in order. Every wait is bounded; a wait that ends without its event is a failure."""

    def __init__(self, fleet: Fleet, *, model: str, say: Say, bar: Bar) -> None:
        self._fleet = fleet
        self._model = model
        self._say = say
        self._bar = bar
        self._connection = fleet.connection
        self._batches = Batches(fleet.connection, tenant=TENANT)
        self._done: dict[str, int] = {}
        self._first: list[LocalNode] = []
        self.manifests: list[Manifest] = []
        self.watcher = Watcher(fleet.connection)
        self.traffic = Traffic(fleet.connection, model=model)
        self.interruptions: list[Interruption] = []
        self.lines: list[ResultLine] = []
        self.late = 0
        self._interrupted = 0
        self.undisturbed: list[tuple[ResultLine, ResultLine]] = []

    async def run(self) -> None:
        """Play all acts."""
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self.watcher.follow())
            telling = group.create_task(self._tell_decisions())
            traffic = group.create_task(self.traffic.run())
            async with asyncio.TaskGroup() as batches:
                filling = batches.create_task(self._keep_busy(batches))
                await bounded("spot for the batch", self._spot_comes(), bound_s=LOAD_S)
                await bounded("kill -9", self._kill_one())
                await bounded("loss of a zone", self._take_zone_away())
                filling.cancel()
                self._say("no more interruptions: the batch runs to its end")
            self.traffic.stop()
            await traffic
            await bounded("asking again", self._ask_again())
            await bounded("last heartbeats", self._last_beats())
            telling.cancel()
            watching.cancel()

    @property
    def _items(self) -> int:
        return sum(manifest.items for manifest in self.manifests)

    async def _keep_busy(self, group: asyncio.TaskGroup) -> None:
        """Submit the prompts as a batch, and again whenever most of it is done."""
        while True:
            if self._items - sum(self._done.values()) < REFILL_ITEMS:
                group.create_task(self._count(await self._submit()))
            await asyncio.sleep(POLL_S)

    async def _submit(self) -> Manifest:
        raw, name = prompts(), f"demo-{len(self.manifests) + 1}"
        checked = survey(io.BytesIO(raw), chunk=CHUNK)
        plan = draft(
            checked,
            tenant=TENANT,
            model=self._model,
            input_name="prompts.jsonl",
            now=time.time(),
            batch=name,
            completion_window_s=WINDOW_S,
        )
        manifest = await self._batches.submit(plan, bodies(io.BytesIO(raw), checked))
        self.manifests.append(manifest)
        self._say(f"batch {name} submitted: {manifest.items} prompts in {manifest.jobs} jobs")
        return manifest

    async def _count(self, manifest: Manifest) -> None:
        async for status in self._batches.watch(manifest.id):
            self._done[manifest.id] = status.request_counts.done
            self._bar("items answered", sum(self._done.values()), self._items)
        self.late += manifest.deadline is not None and time.time() > manifest.deadline

    async def _tell_decisions(self) -> None:
        """Say what the manager decides, and its first reason, until cancelled."""
        told: list[PoolDecided] = []
        said = ""

        def untold() -> Iterator[PoolDecided]:
            return iter(self.watcher.of(PoolDecided)[len(told) :])

        while True:
            told.append(decided := await self.watcher.first(untold))
            words = f"the manager wants {decided.spot} spot: {next(iter(decided.reasons), '')}"
            if words != said:
                self._say(words)
            said = words

    async def _spot_comes(self) -> None:
        """Wait for the spot consumers that the manager starts for the batch."""
        await self.watcher.until(lambda: self._spots_ready() > 1)
        self._first = [n for n in self._fleet.pool.running() if n.capacity_type == "spot"]

    async def _kill_one(self) -> None:
        """Kill a spot consumer in mid-batch, half a checkpoint interval behind a checkpoint."""
        victim = await self._owner(saved_tokens=SAVED_TOKENS)
        await asyncio.sleep(HALF_INTERVAL_S)
        began = time.time()
        self._fleet.pool.kill(victim.node)
        self._say(f"kill -9 of {victim.node} in mid-batch")

        def taken() -> Iterator[JobTakenOver]:
            for event in self.watcher.of(JobTakenOver):
                if event.tier is Tier.BATCH and event.from_node == victim.node:
                    yield event

        await self._went_on("kill -9", victim, began, taken)

    async def _take_zone_away(self) -> None:
        """Take away the other first spot consumer's zone, once a new one is there to take over."""
        await self.watcher.until(lambda: self._spots_ready() > 1)
        victim = await self._owner(saved_tokens=1)
        began = time.time()
        await self._fleet.market.take_away(victim.zone)
        self._say(f"zone {victim.zone} is taken away: notice to {victim.node}")

        def taken() -> Iterator[JobTakenOver]:
            released = {e.job for e in self.watcher.of(JobReleased) if e.node == victim.node}
            for event in self.watcher.of(JobTakenOver):
                if event.tier is Tier.BATCH and event.job in released and event.at >= began:
                    yield event

        await self._went_on("notice", victim, began, taken)
        self._fleet.market.give_back(victim.zone)
        self._say(f"zone {victim.zone} is back")

    async def _went_on(
        self,
        kind: str,
        victim: LocalNode,
        began: float,
        taken: Callable[[], Iterator[JobTakenOver]],
    ) -> None:
        """Wait until another consumer goes on with what the victim held, and book it."""
        event = await self.watcher.first(taken)
        self._say(
            f"{event.node} goes on after {event.at - began:.2f} s with "
            f"{event.items_done} finished items and {event.tokens_saved} saved tokens"
        )
        self.interruptions.append(
            Interruption(
                kind=kind, node=victim.node, went_on_s=event.at - began, taken_by=event.node
            )
        )

    def _spots_ready(self) -> int:
        ready = {event.node for event in self.watcher.of(NodeReady)}
        running = self._fleet.pool.running()
        return sum(node.capacity_type == "spot" and node.node in ready for node in running)

    async def _owner(self, *, saved_tokens: int) -> LocalNode:
        """Wait for a spot consumer that holds a job of the batch with so many tokens saved."""
        while True:
            if node := await self._find_owner(saved_tokens):
                return node
            await asyncio.sleep(POLL_S)

    async def _find_owner(self, saved_tokens: int) -> LocalNode | None:
        claims = Claims(self._connection)
        # Those of the first hour: the replacement of a victim is there to take over.
        spots = {node.node: node for node in self._first if node in self._fleet.pool.running()}
        for manifest in reversed(self.manifests):
            for number in range(manifest.jobs):
                held = await claims.get(TENANT, job_id(manifest.id, number))
                if held is None or held.claim is None or held.claim.owner not in spots:
                    continue
                if sum(len(entry.done_ids) for entry in held.claim.saved) >= saved_tokens:
                    return spots[held.claim.owner]
        return None

    async def _ask_again(self) -> None:
        """Ask for every interrupted item once more, where nobody interrupts."""
        log = ResultLog(self._connection)
        for manifest in self.manifests:
            async for message in log.follow(TENANT, manifest.id):
                self.lines += message.lines
        requests = {msgspec.json.decode(line)["custom_id"]: line for line in prompts().splitlines()}
        interrupted = [line for line in self.lines if line.fleet.resumed != "no"]
        self._interrupted = len(interrupted)
        self._say(f"{len(interrupted)} items were interrupted: asking for them again, undisturbed")
        async with asyncio.TaskGroup() as group:
            for line in interrupted:
                group.create_task(self._compare(line, requests[line.custom_id or ""]))

    async def _compare(self, line: ResultLine, request: bytes) -> None:
        # In the background: every consumer has a share of it, so it takes half as long.
        (again,) = await self.traffic.ask(request, Tier.BACKGROUND)
        self.undisturbed.append((line, again))
        self._bar("asked again", len(self.undisturbed), self._interrupted)

    async def _last_beats(self) -> None:
        """Wait for a heartbeat that counts everything that was generated."""
        now, beats = time.time(), self.watcher.beats

        def all_told() -> bool:
            # Who is given back meanwhile tells it with its last event.
            alive = [node.node for node in self._fleet.pool.running()]
            return all(name in beats and beats[name].at > now for name in alive)

        await self.watcher.until(all_told)


async def bounded(act: str, playing: Coroutine[object, object, T], *, bound_s: float = ACT_S) -> T:
    """Play an act that must come to its end."""
    try:
        async with asyncio.timeout(bound_s):
            return await playing
    except TimeoutError as error:
        raise JobFailed(
            f"the act '{act}' did not come to its end within {bound_s:.0f} s: the machine may be "
            "too busy; try again, or with `--engine scripted`"
        ) from error
