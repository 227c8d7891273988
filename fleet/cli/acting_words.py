"""What an operator is asked before something is done: what it does, and to how much."""

from collections.abc import Sequence
from typing import Final

from dashboard.acting import OnBatch, OnJob, OnLetter, OnNode, OnQueue, Question
from fleet.batch_status import BatchStatus
from fleet.broker.dead import Opened
from fleet.broker.durables import DurableState
from fleet.cli.times import length
from fleet.node import Node

# A pause that nobody ends, ends: a forgotten one would hold a queue for ever.
PAUSE_S: Final = 3600.0
# An operator is in less of a hurry than a cloud: most answers are done by then.
DRAIN_S: Final = 60.0


def of_drain(node: Node, others: Sequence[Node]) -> Question:
    """Ask whether a node is to go. others: that could go on with its work."""
    target = OnNode(node=node.node)
    if node.state in {"draining", "drained"}:
        return Question(
            deed="call back",
            target=target,
            title=f"Call {node.node} back?",
            facts=(_held(node), "It takes jobs again, unless its process got a signal."),
            button="Call back",
        )
    return Question(
        deed="drain",
        target=target,
        title=f"Drain {node.node}?",
        facts=(
            _held(node),
            (
                f"It takes no more jobs, finishes what fits into {DRAIN_S:.0f} s, and saves the "
                "tokens of the rest, which goes on elsewhere. Then its process ends."
            ),
            _successors(node, others),
        ),
        button="Drain",
    )


def of_pause(durable: DurableState) -> Question:
    """Ask whether a queue is to stand still, or to go on."""
    target = OnQueue(tier=durable.tier, model=durable.model)
    name = f"{durable.tier} {durable.model}"
    counts = (
        f"{durable.pending:,} jobs of all tenants wait in it; {durable.ack_pending:,} are being "
        "worked on and go on."
    )
    if durable.paused_s > 0:
        return Question(
            deed="unpause",
            target=target,
            title=f"Let the queue {name} go on?",
            facts=(counts, f"Its pause would last {length(durable.paused_s)} more."),
            button="Go on",
        )
    return Question(
        deed="pause",
        target=target,
        title=f"Pause the queue {name}?",
        facts=(
            counts,
            "New jobs are accepted and wait. Deadlines go on running.",
            f"The pause ends by itself after {length(PAUSE_S)}; the same key ends it before.",
        ),
        button="Pause",
    )


def of_requeue(opened: Opened, new_job: str) -> Question:
    """Ask whether a job that was given up is to be tried again."""
    letter = opened.letter
    return Question(
        deed="requeue",
        target=OnLetter(letter=letter.sequence),
        title=f"Queue {opened.job} again?",
        facts=(
            f"It was given up: {letter.code}: {letter.reason}",
            (
                f"It is published as the new job {new_job} of {letter.tenant} "
                f"({letter.size_bytes:,} bytes), without a deadline; dead letter "
                f"{letter.sequence} goes."
            ),
            "The old id keeps its error result.",
        ),
        button="Requeue",
    )


def of_cancelled_job(target: OnJob, *, done: int, items: int | None) -> Question:
    """Ask whether a job is to end. items: None where nobody can tell how many it has."""
    rest = "the others" if items is None else f"the other {items - done}"
    return Question(
        deed="cancel",
        target=target,
        title=f"Cancel the job {target.job} of {target.tenant}?",
        facts=(
            (
                f"{done} of its {'items' if items is None else f'{items} items'} are done and keep "
                f"their results; {rest} get the error `cancelled`, for good."
            ),
        ),
        button="End the job",
        typed=target.job,
    )


def of_cancelled_batch(target: OnBatch, status: BatchStatus) -> Question:
    """Ask whether a batch is to end."""
    counts = status.request_counts
    return Question(
        deed="cancel",
        target=target,
        title=f"Cancel the batch {target.batch} of {target.tenant}?",
        facts=(
            (
                f"{counts.done:,} of its {counts.total:,} requests are done and keep their "
                f"results; the other {counts.total - counts.done:,} get the error `cancelled`, "
                "for good."
            ),
        ),
        button="End the batch",
        typed=target.batch,
    )


def of_drill(node: Node, others: Sequence[Node], *, checkpoint_s: float) -> Question:
    """Ask whether a node is to be killed, to see what comes of it."""
    return Question(
        deed="drill",
        target=OnNode(node=node.node),
        title=f"Kill {node.node} as a drill?",
        facts=(
            _held(node),
            (
                "Its process is killed without a word. Each item loses at most "
                f"{checkpoint_s:g} s of tokens and goes on once the ack wait is over."
            ),
            _successors(node, others),
            (
                "The drill publishes jobs of its own, waits for their end, and says whether all "
                "promises were kept."
            ),
        ),
        button="Kill it",
        typed=node.node,
    )


def _held(node: Node) -> str:
    where = f"zone {node.zone}" if node.zone else "no zone"
    price = (
        "" if node.price_usd_per_hour is None else f", {node.price_usd_per_hour:.2f} USD an hour"
    )
    return (
        f"{node.node} ({node.capacity_type}, {where}, {node.model}{price}) is {node.state} and has "
        f"{node.items} items of {node.jobs} jobs in hand."
    )


def _successors(node: Node, others: Sequence[Node]) -> str:
    if not others:
        return (
            f"NO other {node.capacity_type} node with {node.model} is ready: its work waits until "
            "one is."
        )
    free = sum(max(0, other.slots - other.items) for other in others)
    return (
        f"{len(others)} other {node.capacity_type} node{'s' if len(others) > 1 else ''} with "
        f"{node.model} {'are' if len(others) > 1 else 'is'} ready, with {free} free slots."
    )
