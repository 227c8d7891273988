"""What an operator does from the dashboard: the one place that changes anything for it."""

from collections.abc import Sequence
from typing import Final

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
from fleet.broker.log_state import fold
from fleet.broker.nodes import Nodes
from fleet.broker.permit import check_allowed
from fleet.broker.provision import served_models
from fleet.broker.queued import Queued, find, state_of
from fleet.broker.stored import messages
from fleet.cancel import cancel
from fleet.cli import acting_words as words
from fleet.cli.audit import Act, audited, described, only_error
from fleet.cli.drill import report_lines
from fleet.control import DrainOrder, ResumeOrder
from fleet.drill import victims
from fleet.drilling import Drill, DrillPlan
from fleet.errors import (
    JobRejected,
    NotFound,
    UsageError,
)
from fleet.job import Tier
from fleet.node import Node
from fleet.requeue import new_id, requeue
from fleet.settings import Settings
from fleet.subjects import RESULTS, results_subject, shown
from fleet.wire import decode_envelope, decode_job

DRILL_WAIT_S: Final = 300.0
MOST_LETTERS: Final = 10_000


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
        act = Act(question.deed, question.target, by=self._by)
        async with audited(self._connection, act):
            act.result = await self._do(question, say)
        return act.result if act.is_told else f"{act.result} (EVENTS holds only its beginning)"

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

        quarter = -1

        def bar(what: str, done: int, of: int) -> None:
            # It is told ten times a second, and each word stays on the screen for a while.
            nonlocal quarter
            if done * 4 // of > quarter:
                quarter = done * 4 // of
                say(f"{what}: {done} of {of}")

        async def asked_already(_: Sequence[Node]) -> None:
            pass

        drill = Drill(self._connection, plan, say=say, bar=bar, sure=asked_already)
        try:
            # One line: the screen shows no other, and neither does an event.
            return "; ".join(map(str.strip, report_lines(await drill.run())))
        except ExceptionGroup as group:
            # It tells several nodes at once; what one of them answered is the answer.
            raise only_error(group) from group

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


def _items(one: Queued) -> int | None:
    """Count a job's items; None for what is no job."""
    try:
        envelope = decode_envelope(
            one.subject, one.headers, stream=one.stream, sequence=one.sequence
        )
        return len(decode_job(envelope, one.payload).items)
    except JobRejected:
        return None
