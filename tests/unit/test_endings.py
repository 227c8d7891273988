"""When a job ends without an answer, and what its items are told."""

import pytest

from fleet.endings import CANCELLED, REALTIME_LONGEST_S, deadline_of, lines_of
from fleet.job import Tier
from tests.asking import chat
from tests.fakes import job_of


@pytest.mark.parametrize("tier", [Tier.BACKGROUND, Tier.BATCH])
def test_work_that_is_not_urgent_ends_when_it_says_or_never(tier: Tier) -> None:
    def of(deadline: float | None) -> float | None:
        return deadline_of(
            deadline=deadline, tier=tier, published_at=100.0, realtime_deadline_s=5.0
        )

    assert of(None) is None
    assert of(1e12) == 1e12


def test_a_realtime_job_always_ends_long_before_its_stream_drops_it() -> None:
    def of(deadline: float | None) -> float | None:
        return deadline_of(
            deadline=deadline, tier=Tier.REALTIME, published_at=100.0, realtime_deadline_s=5.0
        )

    assert of(None) == 105.0
    assert of(103.0) == 103.0
    assert of(1e12) == 100.0 + REALTIME_LONGEST_S


def test_only_items_without_a_line_are_told() -> None:
    job = job_of(chat("a"), {"url": "/nowhere", "custom_id": "bad"}, chat("c"))
    lines = lines_of(job, CANCELLED, done={0}, node="sweep", interruptions=2)
    assert [(line.fleet.item, line.fleet.items) for line in lines] == [(1, 3), (2, 3)]
    assert [line.id for line in lines] == ["j-1", "j-2"]
    assert lines[0].custom_id == "bad"
    assert {line.fleet.interruptions for line in lines} == {2}
    assert {line.error for line in lines} == {CANCELLED}
