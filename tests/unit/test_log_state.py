"""What the messages of a result log add up to, whoever wrote them."""

import msgspec
import pytest

from fleet.broker.log_state import LogState, fold
from fleet.broker.stored import Stored
from fleet.job import MAX_ITEMS, FleetInfo, ResultLine, WireError


def stored(item: int, items: int) -> Stored:
    line = ResultLine(
        id=f"j-{item}",
        custom_id=None,
        error=WireError("failed", "no"),
        fleet=FleetInfo(job="j", item=item, items=items, node="n", capacity_type=None),
    )
    return Stored(
        subject="results.acme._.j", sequence=7, written_at=0.0, headers={},
        payload=msgspec.json.encode(line),
    )  # fmt: skip


def test_a_job_may_have_as_many_items_as_a_job_can_hold() -> None:
    state = fold("j", [stored(0, MAX_ITEMS)])
    assert (state.items, len(state.lines)) == (MAX_ITEMS, 1)


@pytest.mark.parametrize(("item", "items"), [(0, MAX_ITEMS + 1), (0, 10**15), (-1, 2), (2, 2)])
def test_a_line_of_a_job_that_cannot_be_counts_as_absent(item: int, items: int) -> None:
    # Whoever reads a log makes room for its items: a forger must not say for how many.
    assert fold("j", [stored(item, items)]) == LogState(sequence=7)
