"""How each durable stands: what waits for it, what is out, and what it will never deliver."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec

from fleet.broker.answers import read_part
from fleet.broker.clock import ServerClock
from fleet.broker.connection import ApiError, Connection
from fleet.broker.provision import NOT_FOUND
from fleet.broker.queued import state_of
from fleet.broker.stream_state import StreamState
from fleet.errors import JobRejected
from fleet.job import Tier
from fleet.subjects import durable, job_stream, parse_job_subject

_NS: Final = 1_000_000_000


class DurableState(msgspec.Struct, frozen=True, kw_only=True):
    """One durable, or the place where it should be (`exists` is False).

    stored: jobs in its stream that it is for. pending: of those, not delivered yet; ack_pending:
    delivered and not settled. delivered_seq: the place of the last delivery in the stream;
    deliveries: how many there were. pulls: requests that wait for jobs. paused_s: how long it will
    still deliver nothing because an operator paused it.
    """

    name: str
    stream: str
    tier: Tier
    model: str
    stored: int
    exists: bool = True
    pending: int = 0
    ack_pending: int = 0
    delivered_seq: int = 0
    deliveries: int = 0
    pulls: int = 0
    ack_wait_s: float = 10.0
    paused_s: float = 0.0

    @property
    def stuck(self) -> int:
        """Jobs that are stored, and neither wait nor are out: nobody will ever be given them."""
        return max(0, self.stored - self.pending - self.ack_pending)


class _Place(msgspec.Struct, frozen=True):
    consumer_seq: int = 0
    stream_seq: int = 0


class _Config(msgspec.Struct, frozen=True):
    ack_wait: int = 10 * _NS


class _Info(msgspec.Struct, frozen=True):
    config: _Config
    delivered: _Place
    num_ack_pending: int = 0
    num_pending: int = 0
    num_waiting: int = 0
    paused: bool = False
    pause_remaining: int = 0


class _Pause(msgspec.Struct, frozen=True):
    paused: bool = False
    pause_remaining: int = 0


async def ack_wait_of(connection: Connection, tier: Tier, model: str) -> float:
    """Return how many seconds a silent consumer keeps a job."""
    return (await _state(connection, tier, model, 0)).ack_wait_s


async def durable_states(
    connection: Connection, tier: Tier, models: Iterable[str], state: StreamState
) -> list[DurableState]:
    """Read the durables of one tier; `state` is what its stream holds."""
    stored = _stored(state)
    return [await _state(connection, tier, model, stored.get(model, 0)) for model in models]


async def all_durable_states(connection: Connection, models: Iterable[str]) -> list[DurableState]:
    """Read the durables of all tiers; none where the streams are missing."""
    models, found = tuple(models), list[DurableState]()
    for tier in Tier:
        try:
            state = await state_of(connection, tier)
        except ApiError as error:
            if error.err_code not in NOT_FOUND:
                raise
            continue
        found += await durable_states(connection, tier, models, state)
    return found


async def pause(connection: Connection, tier: Tier, model: str, *, for_s: float) -> float:
    """Let a queue deliver nothing for so many seconds, 0 to go on; return how many are left.

    What is out already goes on, and new jobs are accepted. Raises BrokerRefused where the durable
    does not exist or somebody else is to do this, BrokerUnreachable.
    """
    stream = job_stream(tier)
    body: dict[str, str] = {}
    if for_s > 0:
        until = await ServerClock(connection, stream).now() + for_s
        body["pause_until"] = datetime.fromtimestamp(until, UTC).isoformat()
    path = f"CONSUMER.PAUSE.{stream}.{durable(tier, model)}"
    left = read_part(path, await connection.api(path, body), _Pause)
    return left.pause_remaining / _NS if left.paused else 0.0


def _stored(state: StreamState) -> dict[str, int]:
    """Count the stored jobs of each model."""
    counts: dict[str, int] = {}
    for subject, count in (state.subjects or {}).items():
        try:
            model = parse_job_subject(subject).model
        except JobRejected:
            # A literal wildcard for a tenant is delivered to its model's durable all the same.
            _, _, model, *_ = [*subject.split("."), "", "", ""]
        counts[model] = counts.get(model, 0) + count
    return counts


async def _state(connection: Connection, tier: Tier, model: str, stored: int) -> DurableState:
    name, stream = durable(tier, model), job_stream(tier)
    path = f"CONSUMER.INFO.{stream}.{name}"
    try:
        reply = await connection.api(path)
    except ApiError as error:
        if error.err_code not in NOT_FOUND:
            raise
        return DurableState(
            name=name, stream=stream, tier=tier, model=model, stored=stored, exists=False
        )
    info = read_part(path, reply, _Info)
    return DurableState(
        name=name,
        stream=stream,
        tier=tier,
        model=model,
        stored=stored,
        pending=info.num_pending,
        ack_pending=info.num_ack_pending,
        delivered_seq=info.delivered.stream_seq,
        deliveries=info.delivered.consumer_seq,
        pulls=info.num_waiting,
        ack_wait_s=info.config.ack_wait / _NS,
        paused_s=info.pause_remaining / _NS if info.paused else 0.0,
    )
