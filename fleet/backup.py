"""A backup of the broker: a folder for each stream, and a list that is written last.

Queues are copied first and results last. So a job that ends meanwhile is in the results, or in its
queue, or in both, and then it is not run again: the result log says that it is complete.
"""

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from fleet.broker.clock import server_time
from fleet.broker.connection import Connection
from fleet.broker.provision import stream_names
from fleet.broker.snapshot import CHUNK_BYTES, Copied, Snapshot, restore
from fleet.errors import UsageError
from fleet.subjects import JOB_STREAMS, NODES, RESULTS, TOKENS, plain
from fleet.topology import STREAMS, bucket_stream

# Gone within minutes anyway, and untrue after a restore.
LEFT_OUT: Final = frozenset({TOKENS, bucket_stream(NODES)})
ORDER: Final = tuple(
    sorted(
        (stream.name for stream in STREAMS if stream.name not in LEFT_OUT),
        key=lambda name: (name == RESULTS, name not in JOB_STREAMS),
    )
)
LIST: Final = "backup-list.json"
# As the nats CLI names them, so that either can restore what the other has copied.
DATA: Final = "stream.tar.s2"
ABOUT: Final = "backup.json"


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One stream of a backup. size: of its file, in bytes."""

    stream: str
    messages: int
    size: int
    sha256: str


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds. at: when it was begun, seconds since the epoch, by the server."""

    version: int = 1
    at: float
    server: str
    streams: tuple[Kept, ...]


Told = Callable[[Kept], None]


async def back_up(connection: Connection, folder: Path, told: Told) -> Listing:
    """Copy what matters of the broker into a new folder, while the fleet goes on.

    Raises UsageError if the folder exists or cannot be written, BrokerRefused, BrokerUnreachable;
    nothing is left then that looks like a backup.
    """
    at = await server_time(connection, RESULTS)
    kept: list[Kept] = []
    try:
        unfinished = await asyncio.to_thread(_begin, folder)
        for stream in ORDER:
            kept.append(await _copy(connection, stream, unfinished / stream))
            told(kept[-1])
        listing = Listing(at=at, server=connection.server_version, streams=tuple(kept))
        await asyncio.to_thread(_finish, unfinished, folder, listing)
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be written: {error.strerror}") from error
    return listing


def read_listing(folder: Path) -> Listing:
    """Read what a backup holds, and check every byte of it. Raises UsageError."""
    try:
        listing = msgspec.json.decode((folder / LIST).read_bytes(), type=Listing)
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{folder} is no whole backup ({plain(str(error))}): its {LIST} is written last"
        ) from error
    for kept in listing.streams:
        if kept.stream not in ORDER:
            raise UsageError(f"{folder} holds {plain(kept.stream)}, which is no stream of a fleet")
        _about(folder / kept.stream / ABOUT, kept.stream)
        if _digest(folder / kept.stream / DATA) != kept.sha256:
            raise UsageError(
                f"{folder / kept.stream / DATA} is not what was copied: take another backup"
            )
    return listing


async def put_back(
    connection: Connection,
    folder: Path,
    told: Told,
    *,
    replicas: int | None = None,
    only_missing: bool = False,
) -> Listing:
    """Put a backup's streams into a broker that has none of them.

    replicas: how many servers keep each; None for as many as before. only_missing: leave those that
    are there alone. Raises UsageError before anything is changed if the backup is not whole or a
    stream is there; BrokerRefused, BrokerUnreachable.
    """
    listing = await asyncio.to_thread(read_listing, folder)
    there = await stream_names(connection)
    wanted = [kept for kept in listing.streams if kept.stream not in there]
    if len(wanted) < len(listing.streams) and not only_missing:
        found = ", ".join(kept.stream for kept in listing.streams if kept.stream in there)
        raise UsageError(
            f"{connection.address} has {found}, so nothing was changed: delete them first, or "
            "restore --only-missing"
        )
    for kept in wanted:
        copied = _about(folder / kept.stream / ABOUT, kept.stream)
        if replicas is not None:
            config = copied.config | {"num_replicas": replicas}
            copied = msgspec.structs.replace(copied, config=config)
        await restore(connection, copied, _chunks(folder / kept.stream / DATA))
        told(kept)
    return listing


async def _copy(connection: Connection, stream: str, place: Path) -> Kept:
    snapshot = Snapshot(connection, stream)
    copied = await snapshot.begin()
    digest, size = hashlib.sha256(), 0
    with await asyncio.to_thread(_create, place, copied) as file:
        async for chunk in snapshot.chunks():
            digest.update(chunk)
            size += len(chunk)
            await asyncio.to_thread(file.write, chunk)
        file.flush()
        await asyncio.to_thread(os.fsync, file.fileno())
    return Kept(stream=stream, messages=copied.messages, size=size, sha256=digest.hexdigest())


async def _chunks(file: Path) -> AsyncIterator[bytes]:
    with file.open("rb") as data:
        while chunk := await asyncio.to_thread(data.read, CHUNK_BYTES):
            yield chunk


def _about(file: Path, stream: str) -> Copied:
    try:
        copied = msgspec.json.decode(file.read_bytes(), type=Copied)
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise UsageError(f"{file} is damaged ({plain(str(error))}): take another backup") from error
    if copied.config.get("name") != stream:
        raise UsageError(f"{file} is not about {stream}: put back what was copied as it was")
    return copied


def _begin(folder: Path) -> Path:
    """Make the folder that gets the backup's name once all is in it."""
    if folder.exists():
        raise UsageError(f"{folder} exists: name a new folder for each backup")
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700, parents=True)
    return unfinished


def _create(place: Path, copied: Copied) -> BinaryIO:
    place.mkdir(mode=0o700)
    (place / ABOUT).write_bytes(msgspec.json.encode(copied))
    return (place / DATA).open("xb")


def _finish(unfinished: Path, folder: Path, listing: Listing) -> None:
    with (unfinished / LIST).open("xb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(listing), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(folder)


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as data:
            return hashlib.file_digest(data, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
