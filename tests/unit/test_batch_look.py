"""Batches as a screen knows them that stays open for weeks."""

from collections.abc import AsyncIterator
from typing import Final, cast

import msgspec
import pytest

from dashboard.live import watch
from dashboard.live.batches import MOST_ENDED, BatchLook, PoolLook
from dashboard.live.budget import Budget
from dashboard.live.events import Heard
from fleet.broker.connection import Connection
from fleet.broker.eventlog import Recorded
from fleet.broker.stored import Stored
from fleet.events import UsageRecorded
from fleet.job import Tier
from fleet.manifest import BatchState, Manifest, Run
from fleet.subjects import BATCHES, batch_key
from fleet.topology import bucket_subject

NOBODY: Final = cast("Connection", None)
BEGAN: Final = 1_000.0
MANY: Final = 3 * MOST_ENDED


def manifest(number: int, state: BatchState) -> Manifest:
    return Manifest(
        id=f"b{number}", tenant="acme", model="m", tier=Tier.BATCH, input_sha256="", input_name="",
        layout=(Run(1, 8),), created_at=BEGAN + number, state=state, submitted_jobs=1,
    )  # fmt: skip


def usage(batch: str, at: float) -> Recorded:
    event = UsageRecorded(
        at=at, node="n", tenant="acme", model="m", tier=Tier.BATCH, batch=batch, jobs=1, items=8,
        failed_items=0, prompt_tokens=1, completion_tokens=1,
    )  # fmt: skip
    return Recorded(sequence=int(at), event=event, written_at=at)


async def test_what_was_counted_of_batches_that_are_not_shown_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = [manifest(0, "submitted"), *(manifest(n, "completed") for n in range(1, MANY))]

    async def messages(*_: object, after: int) -> AsyncIterator[Stored]:
        for sequence, one in enumerate(there, 1):
            if sequence > after:
                yield Stored(
                    subject=bucket_subject(BATCHES, batch_key(one.tenant, one.id)),
                    sequence=sequence, written_at=0.0, headers={},
                    payload=msgspec.json.encode(one),
                )  # fmt: skip

    monkeypatch.setattr(watch, "messages", messages)
    heard = Heard()
    heard.since = BEGAN
    for number in range(MANY):
        heard.take(usage(f"b{number}", BEGAN + number))
    heard.take(usage("not-read-yet", BEGAN + MANY))
    look = BatchLook(heard, PoolLook(Budget()), Budget())
    await look.look(NOBODY, BEGAN + MANY + 59)
    assert len(heard.batches) <= MOST_ENDED + 60
    assert ("acme", "not-read-yet") in heard.batches
    facts = look.facts()
    assert [one.batch for one in facts[:2]] == ["b0", f"b{MANY - 1}"]
    assert len(facts) == 1 + MOST_ENDED
    assert {one.done for one in facts} == {8}
