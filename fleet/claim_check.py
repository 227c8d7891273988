"""Requests into a blob store, and small jobs that point to them.

A file lies under the digest of its content, so uploading it again does nothing, and jobs made of
the same file are the same jobs.
"""

import hashlib
import time
from collections.abc import Iterable
from typing import Final

import msgspec

from fleet.batch_file import MAX_BODY_BYTES, MAX_PART_BYTES, Part
from fleet.blob import blob_key, input_name
from fleet.blobs.store import BlobStore
from fleet.errors import JobRejected
from fleet.job import MAX_ITEMS, Source

# What lies in a store for longer is written again: a job of today must not find it expired.
RENEW_S: Final = 86_400.0


class _Pointer(msgspec.Struct, frozen=True):
    input: Source


class _Form(msgspec.Struct, frozen=True):
    requests: tuple[msgspec.Raw, ...] | None = None


def is_large(payload: bytes) -> bool:
    """Say whether a job is too large for a message that also has headers."""
    return len(payload) > MAX_BODY_BYTES


def part_of(payload: bytes) -> Part:
    """Turn one large job into a file of its requests. Raises JobRejected for what is no job."""
    try:
        requests = msgspec.json.decode(payload, type=_Form).requests or (msgspec.Raw(payload),)
        # A request may be written over several lines; a file has one for each.
        lines = [msgspec.json.format(bytes(raw), indent=-1) for raw in requests]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise JobRejected(f"not valid JSON: {error}", code="invalid_json") from error
    if len(lines) > MAX_ITEMS:
        raise JobRejected(
            f"`requests` holds {len(lines)} requests; a job holds 1 to {MAX_ITEMS}",
            code="invalid_request",
        )
    data = b"".join(line + b"\n" for line in lines)
    if len(data) > MAX_PART_BYTES:
        raise JobRejected(
            f"the job has {len(data)} bytes, over the limit of {MAX_PART_BYTES}: cut it into "
            "smaller jobs",
            code="too_large",
        )
    return Part(data, (len(lines),))


async def check_in(store: BlobStore, tenant: str, parts: Iterable[Part]) -> list[bytes]:
    """Upload what is not there yet; return the bodies of the jobs, in order.

    Raises StoreUnavailable, StoreRefused, BrokerUnreachable, BrokerRefused: do it again then, it
    goes on where it stopped. BlobChanged: something else lies where the file belongs.
    """
    bodies: list[bytes] = []
    for part in parts:
        sha256 = hashlib.sha256(part.data).hexdigest()
        key = blob_key(tenant, input_name(sha256))
        await _upload(store, key, part.data)
        first = 0
        for count in part.counts:
            source = Source(uri=store.uri(key), sha256=sha256, first=first, count=count)
            bodies.append(msgspec.json.encode(_Pointer(source)))
            first += count
    return bodies


async def _upload(store: BlobStore, key: str, data: bytes) -> None:
    stat = await store.head(key)
    if stat is None or stat.size_bytes != len(data):
        await store.put(key, data)
    elif time.time() - stat.written_at > RENEW_S:
        await store.put(key, data, etag=stat.etag)
