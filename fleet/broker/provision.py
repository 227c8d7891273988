"""Creating what the topology asks for, and telling where the broker differs from it."""

from collections.abc import AsyncIterator, Iterable
from typing import Final

import msgspec

from fleet.broker.answers import read_part
from fleet.broker.connection import ApiError, Connection
from fleet.errors import BrokerRefused
from fleet.job import Tier
from fleet.subjects import RESULTS, TOKEN, durable, job_stream, token
from fleet.topology import STREAMS, Config, DurableSpec, durables

NOT_FOUND: Final = frozenset({10059, 10014})
MISSING: Final = "missing"


class Drift(msgspec.Struct, frozen=True):
    """One setting that differs. field: `missing` where the whole thing is not there."""

    name: str
    field: str
    wanted: str
    found: str


async def provision(
    connection: Connection, models: Iterable[str], *, ack_wait_s: float = 10.0, replicas: int = 1
) -> list[str]:
    """Create the streams, buckets and durables that are missing; return their names.

    replicas: how many servers keep each stream: 3 in production, 1 on a single server. What exists
    is left alone, even where it differs: see `drift`. Raises JobRejected for a model that is no
    slug, BrokerRefused when a creation is refused.
    """
    wanted = _durables(models, ack_wait_s)
    there = await stream_names(connection)
    made: list[str] = []
    for stream in STREAMS:
        if stream.name not in there:
            config = stream.config(replicas=replicas)
            await _create(connection, stream.name, f"STREAM.CREATE.{stream.name}", config)
            made.append(stream.name)
    for tier in Tier:
        stream_name = job_stream(tier)
        names = _names(connection, f"CONSUMER.NAMES.{stream_name}", "consumers")
        known = {name async for name in names}
        for spec in wanted:
            if spec.stream == stream_name and spec.name not in known:
                await _create_durable(connection, spec)
                made.append(spec.name)
    return made


async def drift(
    connection: Connection, models: Iterable[str], ack_wait_s: float = 10.0
) -> list[Drift]:
    """Compare the broker with the topology; [] when all is there as it should be.

    Every stream should have as many replicas as the results have.
    """
    found: list[Drift] = []
    infos = {
        stream.name: await _info(connection, f"STREAM.INFO.{stream.name}") for stream in STREAMS
    }
    replicas = _replicas(infos[RESULTS])
    for stream in STREAMS:
        found += _differences(stream.name, stream.config(replicas=replicas), infos[stream.name])
    for spec in _durables(models, ack_wait_s):
        info = await _info(connection, f"CONSUMER.INFO.{spec.stream}.{spec.name}")
        found += _differences(spec.name, spec.config(), info)
    return found


async def stream_names(connection: Connection) -> frozenset[str]:
    """Name the streams that are there, ours and others."""
    return frozenset([name async for name in _names(connection, "STREAM.NAMES", "streams")])


async def served_models(connection: Connection) -> tuple[str, ...]:
    """Name the models that have durables, sorted; none where the streams are missing."""
    models: set[str] = set()
    for tier in Tier:
        prefix = durable(tier, "")
        path = f"CONSUMER.NAMES.{job_stream(tier)}"
        try:
            names = [name async for name in _names(connection, path, "consumers")]
        except ApiError as error:
            if error.err_code not in NOT_FOUND:
                raise
            continue
        found = (name.removeprefix(prefix) for name in names if name.startswith(prefix))
        models.update(filter(TOKEN.fullmatch, found))
    return tuple(sorted(models))


def _durables(models: Iterable[str], ack_wait_s: float) -> list[DurableSpec]:
    return [
        spec
        for model in models
        for spec in durables(token(model, what="model"), ack_wait_s=ack_wait_s)
    ]


async def _create_durable(connection: Connection, spec: DurableSpec) -> None:
    # The action matters: without it, this would update a durable and drop what is not named.
    body: Config = {"stream_name": spec.stream, "config": spec.config(), "action": "create"}
    path = f"CONSUMER.CREATE.{spec.stream}.{spec.name}.{spec.filter_subject}"
    await _create(connection, spec.name, path, body)


async def _create(connection: Connection, name: str, path: str, body: Config) -> None:
    try:
        await connection.api(path, body)
    except ApiError as error:
        raise BrokerRefused(
            f"{name} could not be created: {error}; if it exists with other settings, "
            "`fleet doctor` names them"
        ) from error


async def _info(connection: Connection, path: str) -> Config | None:
    try:
        config = (await connection.api(path)).get("config")
    except ApiError as error:
        if error.err_code in NOT_FOUND:
            return None
        raise
    return config if isinstance(config, dict) else {}


def _replicas(config: Config | None) -> int:
    found = (config or {}).get("num_replicas")
    return found if isinstance(found, int) else 1


def _differences(name: str, wanted: Config, found: Config | None) -> list[Drift]:
    """Compare only what we set. The server leaves out zeros and false, so absent equals those."""
    if found is None:
        return [Drift(name, MISSING, "present", "missing")]
    drifts = [
        Drift(name, field, _shown(value), _shown(found.get(field)))
        for field, value in wanted.items()
        if (found.get(field) or None) != (value or None)
    ]
    if found.get("persist_mode") == "async" and "persist_mode" not in wanted:
        # It acknowledges before it writes, whatever `sync_interval` says.
        drifts.append(Drift(name, "persist_mode", '"default"', '"async"'))
    return drifts


def _shown(value: object) -> str:
    return msgspec.json.encode(value).decode()


async def _names(connection: Connection, path: str, field: str) -> AsyncIterator[str]:
    """List names, page by page."""
    offset = 0
    while True:
        reply = await connection.api(path, {"offset": offset})
        names = read_part(path, reply.get(field) or [], list[str])
        for name in names:
            yield name
        offset += len(names)
        total = reply.get("total")
        if not names or not isinstance(total, int) or offset >= total:
            return
