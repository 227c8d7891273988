"""Batches for the tests: files whose requests answer with their own number."""

import asyncio
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from fleet.batch_file import bodies, survey
from fleet.batch_status import BatchStatus
from fleet.batches import Batches, draft
from fleet.broker.connection import Connection
from fleet.manifest import Manifest
from tests.integration.answering import FAIL

BOUND_S = 60.0


def content(count: int, *, failing: Iterable[int] = ()) -> bytes:
    """A file of requests that answer with their own number."""
    bad = set(failing)
    lines = (
        {
            "custom_id": f"row-{n}",
            "url": "/v1/chat/completions",
            "body": {"messages": [{"role": "user", "content": FAIL if n in bad else f"n{n}"}]},
        }
        for n in range(count)
    )
    return b"\n".join(map(msgspec.json.encode, lines))


def plan_of(file: bytes, unique: str, **options: Any) -> tuple[Manifest, Iterable[bytes]]:
    chunk = options.pop("chunk", 4)
    found = survey(io.BytesIO(file), chunk=chunk)
    plan = draft(found, tenant=unique, model=unique, input_name="in.jsonl", now=1e9, **options)
    return plan, bodies(io.BytesIO(file), found)


async def finished(batches: Batches, batch: str) -> BatchStatus:
    async with asyncio.timeout(BOUND_S):
        async for status in batches.watch(batch):
            last = status
    return last


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def queued(connection: Connection, unique: str) -> int:
    """Count the jobs of this test in its queue."""
    query = {"subjects_filter": f"jobs.batch.{unique}.{unique}"}
    info: Any = await connection.api("STREAM.INFO.JOBS_BATCH", query)
    return sum((info["state"].get("subjects") or {}).values())
