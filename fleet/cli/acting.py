"""What an operator does from the dashboard: the one place that changes anything for it.

Each act leaves two events in EVENTS: one before it, without which nothing is done, and one that
says what came of it.
"""

import asyncio
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Literal, TypeAlias, assert_never

from dashboard.acting import (
    Action,
    OnBatch,
    OnJob,
    OnLetter,
    OnNode,
    OnQueue,
    Question,
    Say,
    Target,
)
from fleet.batches import Batches
from fleet.broker.connection import Connection
from fleet.broker.control import ask
from fleet.broker.dead import DeadLetters
from fleet.broker.durables import durable_states, pause
from fleet.broker.eventlog import store_event
from fleet.broker.log_state import fold
from fleet.broker.nodes import Nodes
from fleet.broker.permit import check_allowed
from fleet.broker.provision import served_models
from fleet.broker.queued import Queued, find, state_of
from fleet.broker.stored import messages
from fleet.cancel import cancel
from fleet.cli import acting_words as words
from fleet.cli.drill import report_lines
from fleet.control import DrainOrder, ResumeOrder
from fleet.drill import victims
from fleet.drilling import Drill, DrillPlan
from fleet.errors import (
    BrokerRefused,
    BrokerUnreachable,
    FleetError,
    JobRejected,
    NotFound,
    UsageError,
)
from fleet.events import OperatorActed
from fleet.job import Tier
from fleet.node import Node
from fleet.requeue import new_id, requeue
from fleet.settings import Settings
from fleet.subjects import RESULTS, plain, results_subject, shown
from fleet.wire import decode_envelope, decode_job

DRILL_WAIT_S: Final = 300.0
MOST_LETTERS: Final = 10_000
# What a dashboard that is being closed takes to say how an act ended.
LAST_WORD_S: Final = 2.0
Outcome: TypeAlias = Literal["begun", "done", "failed"]


class Acting:
    """Acts for `by`, with the rights of the connection's user. Implements dashboard's Operator."""

    def __init__(self, connection: Connection, settings: Settings, *, by: str) -> None:
        self._connection = connection
        self._settings = settings
        self._by = by

    async def consider(  # noqa: PLR0911  (a return for each case)
        self, action: Action, target: Target
    ) -> Question:
        """Say what an action would do now; changes nothing.

        Raises UsageError where it does not fit or a guard rail stands in the way, NotFound,
        JobRejected for names that are none, BrokerRefused, BrokerUnreachable.
        """
        match action, target:
            case "drain", OnNode(node=name):
                node, nodes = await self._node(name)
                return words.of_drain(node, _others(node, nodes))
            case "drill", OnNode(node=name):
                return await self._consider_drill(name)
            case "pause", OnQueue(tier=tier, model=model):
                return await self._consider_pause(tier, model)
            case "requeue", OnLetter(letter=letter):
                return await self._consider_requeue(letter)
            case "requeue", OnJob(tenant=tenant, job=job):
                return await self._consider_requeue(await self._letter_of(tenant, job))
            case "cancel", OnJob():
                return await self._consider_cancel(target)
            case "cancel", OnBatch(tenant=tenant, batch=batch):
                status = await Batches(self._connection, tenant=tenant).status(batch)
                return words.of_cancelled_batch(target, status)
            case _:
                raise UsageError(f"{action} does not fit {described(target)}: choose another row")

    async def perform(self, question: Question, say: Say) -> str:
        """Do it, tell EVENTS, and return what came of it. Raises FleetError, likewise told."""
        # Nothing is done that nobody could find afterwards, so this one may raise.
        await self._tell(question, "begun")
        try:
            result = await self._do(question, say)
        except FleetError as error:
            await self._tell_end(question, "failed", str(error))
            raise
        except asyncio.CancelledError:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORD_S):
                    await self._tell_end(question, "failed", "the dashboard ended meanwhile")
            raise
        is_told = await self._tell_end(question, "done", result)
        return result if is_told else f"{result} (EVENTS holds only its beginning)"

    async def _do(  # noqa: PLR0911  (a return for each case)
        self, question: Question, say: Say
    ) -> str:
        connection = self._connection
        match question.deed, question.target:
            case "drain", OnNode(node=node):
                heard = await ask(connection, node, DrainOrder(left_s=words.DRAIN_S))
                return f"{node} drains: {heard.items} items of {heard.jobs} jobs in hand"
            case "call back", OnNode(node=node):
                heard = await ask(connection, node, ResumeOrder())
                return f"{node} is called back, and {heard.state}"
            case "pause", OnQueue(tier=tier, model=model):
                left_s = await pause(connection, tier, model, for_s=words.PAUSE_S)
                return f"the queue {tier} {model} is paused for {left_s:.0f} s"
            case "unpause", OnQueue(tier=tier, model=model):
                await pause(connection, tier, model, for_s=0)
                return f"the queue {tier} {model} goes on"
            case "requeue", OnLetter(letter=letter):
                done = await requeue(connection, letter, models=await served_models(connection))
                return f"{done.former_job} is queued again as {done.job}"
            case "cancel", OnJob(tenant=tenant, job=job, batch=batch):
                found = await cancel(connection, tenant=tenant, job=job, batch=batch)
                return f"{job} of {tenant} was {found.state}; {found.items_done} items are done"
            case "cancel", OnBatch(tenant=tenant, batch=batch):
                status = await Batches(connection, tenant=tenant).cancel(batch)
                return f"batch {batch} of {tenant} is {status.status}"
            case "drill", OnNode(node=node):
                return await self._drill(node, say)
            case deed, target:
                raise UsageError(f"{deed} does not fit {described(target)}")

    async def _consider_drill(self, name: str) -> Question:
        await check_allowed(self._connection)
        _, nodes = await self._node(name)
        [victim] = victims(nodes, "kill", node=name)
        return words.of_drill(
            victim, _others(victim, nodes), checkpoint_s=self._settings.checkpoint_s
        )

    async def _consider_pause(self, tier: Tier, model: str) -> Question:
        state = await state_of(self._connection, tier)
        [durable] = await durable_states(self._connection, tier, [model], state)
        if not durable.exists:
            raise NotFound(f"{durable.name} does not exist: `fleet init --model {model}` makes it")
        return words.of_pause(durable)

    async def _consider_requeue(self, letter: int) -> Question:
        opened = await DeadLetters(self._connection).open(letter)
        return words.of_requeue(opened, new_id(opened, letter))

    async def _consider_cancel(self, target: OnJob) -> Question:
        subject = results_subject(target.tenant, target.batch or "*", target.job)
        log = fold(target.job, [one async for one in messages(self._connection, RESULTS, subject)])
        one = await find(self._connection, target.tenant, target.job)
        if one is None:
            raise NotFound(
                f"job {shown(target.job)} of {shown(target.tenant)} is in no queue: it has ended"
            )
        items = _items(one) if log.items is None else log.items
        return words.of_cancelled_job(target, done=len(log.lines), items=items)

    async def _drill(self, node: str, say: Say) -> str:
        plan = DrillPlan(
            kind="kill",
            node=node,
            wait_s=DRILL_WAIT_S,
            checkpoint_s=self._settings.checkpoint_s,
            by=self._by,
        )

        def bar(what: str, done: int, of: int) -> None:
            say(f"{what}: {done} of {of}")

        drill = Drill(self._connection, plan, say=say, bar=bar, sure=lambda _: None)
        try:
            return "\n".join(report_lines(await drill.run()))
        except ExceptionGroup as group:
            # It tells several nodes at once; what one of them answered is the answer.
            raise _only_error(group) from group

    async def _node(self, name: str) -> tuple[Node, Sequence[Node]]:
        nodes = await Nodes(self._connection).list()
        for node in nodes:
            if node.node == name:
                return node, nodes
        raise NotFound(f"no node {shown(name)} is alive any more")

    async def _letter_of(self, tenant: str, job: str) -> int:
        letters = await DeadLetters(self._connection).list(limit=MOST_LETTERS, tenant=tenant)
        for letter in reversed(letters):
            if letter.job == job:
                return letter.sequence
        raise NotFound(
            f"job {shown(job)} of {shown(tenant)} was not given up: there is no dead letter of it"
        )

    async def _tell_end(self, question: Question, outcome: Outcome, result: str) -> bool:
        with suppress(BrokerUnreachable, BrokerRefused):
            await self._tell(question, outcome, plain(result))
            return True
        return False

    async def _tell(self, question: Question, outcome: Outcome, result: str = "") -> None:
        target = question.target
        event = OperatorActed(
            at=time.time(),
            node=target.node if isinstance(target, OnNode) else "",
            by=self._by,
            deed=question.deed,
            target=described(target),
            outcome=outcome,
            result=result,
        )
        await store_event(self._connection, event, msg_id=secrets.token_hex(12))


def described(target: Target) -> str:
    """Name a target in words."""
    match target:
        case OnNode(node=node):
            return f"node {plain(node)}"
        case OnQueue(tier=tier, model=model):
            return f"queue {tier} {plain(model)}"
        case OnJob(tenant=tenant, job=job):
            return f"job {plain(job)} of {plain(tenant)}"
        case OnBatch(tenant=tenant, batch=batch):
            return f"batch {plain(batch)} of {plain(tenant)}"
        case OnLetter(letter=letter):
            return f"dead letter {letter}"
    assert_never(target)


def _others(node: Node, nodes: Sequence[Node]) -> list[Node]:
    """Choose who could go on with a node's work."""
    role = (node.model, node.capacity_type)
    return [
        other
        for other in nodes
        if other.node != node.node
        and other.state == "ready"
        and (other.model, other.capacity_type) == role
    ]


def _only_error(group: ExceptionGroup) -> Exception:
    """Take our error out of a group; the group itself where a bug is among its members."""
    _, bugs = group.split(FleetError)
    error: Exception = group
    while bugs is None and isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _items(one: Queued) -> int | None:
    """Count a job's items; None for what is no job."""
    try:
        envelope = decode_envelope(
            one.subject, one.headers, stream=one.stream, sequence=one.sequence
        )
        return len(decode_job(envelope, one.payload).items)
    except JobRejected:
        return None
