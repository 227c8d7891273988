"""Batches with a deadline that lies in the future."""

import io
import time

from fleet.batch_file import bodies, survey
from fleet.batches import Batches, draft
from fleet.broker.connection import Connection
from fleet.manifest import Manifest
from tests.integration.batch_kit import content


async def submit_batch(
    connection: Connection,
    *,
    tenant: str,
    model: str,
    items: int,
    window_s: float | None,
    name: str = "b",
    tokens: int = 4,
    chunk: int = 2,
) -> Manifest:
    """Submit a batch of so many chats."""
    raw = content(items).replace(b'"messages"', b'"max_tokens":%d,"messages"' % tokens)
    found = survey(io.BytesIO(raw), chunk=chunk)
    plan = draft(
        found, tenant=tenant, model=model, input_name="in.jsonl", now=time.time(), batch=name,
        completion_window_s=window_s,
    )  # fmt: skip
    batches = Batches(connection, tenant=tenant)
    return await batches.submit(plan, bodies(io.BytesIO(raw), found))
