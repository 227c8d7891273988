"""Why does one job wait: where it stands in its queue, who holds it, and when it is given up."""

from typing import Literal, TypeAlias

import msgspec

from fleet.broker.backlog import behind
from fleet.broker.claims import Claims
from fleet.broker.clock import ServerClock
from fleet.broker.connection import Connection
from fleet.broker.durables import DurableState, durable_states
from fleet.broker.nodes import Nodes
from fleet.broker.queued import Queued, find, state_of
from fleet.broker.results import ResultLog
from fleet.claim import Claim, backoff_s
from fleet.errors import NotFound
from fleet.expiry import Deadlines
from fleet.job import Tier
from fleet.node import Node
from fleet.subjects import RESULTS, parse_job_subject, shown
from fleet.wire import decode_envelope

# waiting: never given to a node. held: a node works on it. between: given back, or its node is
# silent, and the next one will have it. unserved: nobody will ever be given it.
State: TypeAlias = Literal["waiting", "held", "between", "unserved", "done"]


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """How a job stands.

    position: its place among those that wait, from 1; of: how many wait. node: who holds it, or
    held it last. attempts: failures by its own fault; interruptions: nodes that it outlived.
    again_in_s: it is tried again within so many seconds. expires_at: seconds since the epoch, None
    without a deadline. paused_s: how long an operator's pause of its queue still lasts. ready:
    nodes that may serve it and are ready. texts: all of this in words.
    """

    job: str
    tenant: str
    tier: Tier
    model: str
    batch: str | None
    state: State
    position: int | None = None
    of: int | None = None
    node: str | None = None
    attempts: int = 0
    interruptions: int = 0
    again_in_s: float | None = None
    expires_at: float | None = None
    paused_s: float = 0.0
    ready: int = 0
    texts: tuple[str, ...] = ()


async def waiting(
    connection: Connection, tenant: str, job: str, *, realtime_deadline_s: float
) -> Waiting:
    """Look for a job of a tenant, and say why it is not done.

    Raises NotFound, JobRejected for names that are none, BrokerRefused, BrokerUnreachable.
    """
    one = await find(connection, tenant, job)
    if one is None:
        raise NotFound(
            f"no job {shown(job)} of tenant {shown(tenant)} is in a queue: it has ended, or was "
            f"never accepted; `fleet attach {job}` shows its answer, `fleet dead ls` what was "
            "given up"
        )
    where = parse_job_subject(one.subject)
    envelope = decode_envelope(one.subject, one.headers, stream=one.stream, sequence=one.sequence)
    state = await state_of(connection, where.tier)
    [durable] = await durable_states(connection, where.tier, [where.model], state)
    nodes = [node for node in await Nodes(connection).list() if serves(node, where.tier)]
    deadlines = Deadlines(connection, where.tier, realtime_deadline_s=realtime_deadline_s)
    found = Waiting(
        job=job,
        tenant=tenant,
        tier=where.tier,
        model=where.model,
        batch=envelope.batch,
        state="waiting",
        expires_at=deadlines.of(one),
        paused_s=durable.paused_s,
        ready=sum(node.state == "ready" and node.model == where.model for node in nodes),
    )
    log = await ResultLog(connection).read(tenant, envelope.batch, job)
    if log.complete:
        found = _said(found, "done", "its answer is complete, only its receipt is on its way")
    elif not durable.exists:
        found = _said(
            found, "unserved", f"{durable.name} does not exist: `fleet init --model {where.model}`"
        )
    elif one.sequence > durable.delivered_seq:
        found = await _in_queue(connection, found, one, durable)
    else:
        found = await _delivered(connection, found, durable)
    return await _with_times(connection, found)


def serves(node: Node, tier: Tier) -> bool:
    """Whether a node may be given jobs of a tier: real-time never rides on spot."""
    match tier:
        case Tier.REALTIME:
            return node.capacity_type == "on-demand"
        case Tier.BATCH:
            return node.capacity_type == "spot"
        case Tier.BACKGROUND:
            return True


async def _in_queue(
    connection: Connection, found: Waiting, one: Queued, durable: DurableState
) -> Waiting:
    later = await behind(connection, found.tier, found.model, one.sequence)
    position = max(1, durable.pending - later)
    said = _said(
        found,
        "waiting",
        f"it is number {position} of {durable.pending} that wait in {durable.name}",
    )
    return msgspec.structs.replace(said, position=position, of=durable.pending)


async def _delivered(connection: Connection, found: Waiting, durable: DurableState) -> Waiting:
    held = await Claims(connection).get(found.tenant, found.job)
    claim = held.claim if held else None
    if held is None or claim is None:
        text = (
            f"a node was given it and has saved nothing of it yet; without a sign of that node for "
            f"{durable.ack_wait_s:.0f} s another one has it"
        )
        return _said(found, "held", text)
    about = msgspec.structs.replace(
        found, node=claim.owner, attempts=claim.attempts, interruptions=claim.interruptions
    )
    if claim.owner is None:
        return _between(about, claim, held.age_s)
    if await Nodes(connection).alive(claim.owner):
        text = f"{claim.owner} works on it, and saved {held.age_s:.0f} s ago what there is"
        if claim.isolated:
            text += "; its items run one by one, for it is suspected of killing engines"
        return _said(about, "held", text)
    text = (
        f"its node {claim.owner} is silent: the next one has it within {durable.ack_wait_s:.0f} s"
    )
    again = msgspec.structs.replace(about, again_in_s=durable.ack_wait_s)
    return _said(again, "between", text)


def _between(found: Waiting, claim: Claim, age_s: float) -> Waiting:
    """Say of a job that was given back when it is tried again."""
    last = claim.history[-1] if claim.history else None
    found = msgspec.structs.replace(found, node=last.node if last else None)
    if last is not None and last.how == "failed":
        left_s = max(0.0, backoff_s(claim.attempts) - age_s)
        text = (
            f"it failed {claim.attempts} times by its own fault, at last on {last.node}: it is "
            f"tried again in {left_s:.0f} s"
        )
        return _said(msgspec.structs.replace(found, again_in_s=left_s), "between", text)
    by = f" by {last.node}" if last is not None and last.node else ""
    return _said(found, "between", f"it was given back{by}: the next node that is free has it")


async def _with_times(connection: Connection, found: Waiting) -> Waiting:
    now = await ServerClock(connection, RESULTS).now()
    if found.paused_s > 0:
        found = _said(
            found, found.state, f"an operator paused its queue for {found.paused_s:.0f} s more"
        )
    if found.ready == 0 and found.state in {"waiting", "between"}:
        kind = {Tier.REALTIME: "on-demand ", Tier.BATCH: "spot "}.get(found.tier, "")
        found = _said(found, found.state, f"no {kind}node that serves {found.model} is ready")
    if found.expires_at is not None:
        left_s = found.expires_at - now
        when = f"in {left_s:.0f} s" if left_s > 0 else "now"
        found = _said(found, found.state, f"it expires {when}")
    return found


def _said(found: Waiting, state: State, text: str) -> Waiting:
    return msgspec.structs.replace(found, state=state, texts=(*found.texts, text))
