"""How much lies in the queues of a tier, counted by the server in a handful of requests."""

from typing import Final

import msgspec

from fleet.broker.answers import read_part
from fleet.broker.connection import ApiError, Connection
from fleet.broker.provision import NOT_FOUND
from fleet.broker.stream_state import stream_state
from fleet.job import Tier
from fleet.subjects import DEAD, TOKEN, durable, job_stream

_NS: Final = 1_000_000_000
# A stored literal wildcard, or what else no subject of ours has.
_FOREIGN: Final = "_"
_PARTS: Final = 4


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """A durable's counts. pending: never delivered; ack_pending: delivered and not settled.

    redelivered: of those, delivered for at least the second time. delivered_seq: the place of the
    last delivery in the stream. paused_s: how long an operator's pause still lasts.
    """

    pending: int
    ack_pending: int
    redelivered: int
    delivered_seq: int
    paused_s: float


class TierTally(msgspec.Struct, frozen=True, kw_only=True):
    """What a tier holds. stored: jobs without an end, by model and tenant; durables: by model.

    oldest_at: when the oldest of its jobs was stored, seconds since the epoch; None without any.
    """

    stored: dict[tuple[str, str], int]
    durables: dict[str, Counted]
    oldest_at: float | None = None


class _Place(msgspec.Struct, frozen=True):
    stream_seq: int = 0


class _Info(msgspec.Struct, frozen=True):
    name: str
    delivered: _Place
    num_ack_pending: int = 0
    num_redelivered: int = 0
    num_pending: int = 0
    paused: bool = False
    pause_remaining: int = 0


async def tally(connection: Connection, tier: Tier) -> TierTally | None:
    """Count one tier; None where its stream is missing. Raises BrokerRefused, BrokerUnreachable."""
    try:
        state = await stream_state(connection, job_stream(tier), subjects=">")
        infos = await _infos(connection, tier)
    except ApiError as error:
        if error.err_code not in NOT_FOUND:
            raise
        return None
    prefix = durable(tier, "")
    models = {one.name.removeprefix(prefix): one for one in infos if one.name.startswith(prefix)}
    return TierTally(
        stored=_by_queue(state.subjects or {}),
        durables={model: _counted(one) for model, one in models.items() if TOKEN.fullmatch(model)},
        oldest_at=state.first_ts.timestamp() if state.messages and state.first_ts else None,
    )


async def dead_tally(connection: Connection) -> dict[tuple[str, str, str], int]:
    """Count the dead letters by tier, model and tenant; one request."""
    counts: dict[tuple[str, str, str], int] = {}
    state = await stream_state(connection, DEAD, subjects=">")
    for subject, count in (state.subjects or {}).items():
        _, tier, model, tenant, *_ = [*subject.split("."), *[_FOREIGN] * _PARTS]
        counts[tier, model, tenant] = counts.get((tier, model, tenant), 0) + count
    return counts


def _by_queue(subjects: dict[str, int]) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for subject, count in subjects.items():
        _, _, model, tenant, *_ = [*subject.split("."), *[_FOREIGN] * _PARTS]
        counts[model, tenant] = counts.get((model, tenant), 0) + count
    return counts


async def _infos(connection: Connection, tier: Tier) -> list[_Info]:
    """Read all durables of a tier, page by page."""
    found: list[_Info] = []
    while True:
        path = f"CONSUMER.LIST.{job_stream(tier)}"
        reply = await connection.api(path, {"offset": len(found)})
        page = read_part(path, reply.get("consumers") or [], list[_Info])
        found += page
        total = reply.get("total")
        if not page or not isinstance(total, int) or len(found) >= total:
            return found


def _counted(info: _Info) -> Counted:
    return Counted(
        pending=info.num_pending,
        ack_pending=info.num_ack_pending,
        redelivered=info.num_redelivered,
        delivered_seq=info.delivered.stream_seq,
        paused_s=info.pause_remaining / _NS if info.paused else 0.0,
    )
