"""What is left to do, by records that may be late and a queue that knows no batches."""

import hypothesis.strategies as st
from hypothesis import given

from fleet.events import UsageRecorded
from fleet.job import Tier
from fleet.manifest import Manifest, Run
from fleet.pool.progress import Progress
from fleet.pool.snapshot import Work
from fleet.pool.workload import Submitted, submitted, workload


def done(**items: int) -> Progress:
    progress = Progress("m")
    for batch, count in items.items():
        progress.take(
            UsageRecorded(
                at=0.0, node="n", tenant="t", model="m", tier=Tier.BATCH, batch=batch, jobs=1,
                items=count, failed_items=0, prompt_tokens=0, completion_tokens=0,
                engine_s=float(count),
            ),
            written_at=0.0,
        )  # fmt: skip
    return progress


def batch(name: str, *, jobs: int, items: int, at: float = 1.0, tenant: str = "t") -> Submitted:
    return Submitted(f"{tenant}.{name}", tenant, jobs, items, 1000.0, at)


def left(found: tuple[Work, ...]) -> dict[str, int]:
    return {one.name: one.items for one in found}


def test_what_is_recorded_as_done_is_not_left() -> None:
    one = batch("b", jobs=10, items=40)
    assert left(workload([one], done(b=12), {"t": 8}, background=0)) == {"t.b": 28}


def test_an_empty_queue_has_no_work_whatever_the_records_say() -> None:
    one = batch("b", jobs=10, items=40)
    assert workload([one], Progress("m"), {}, background=0) == ()


def test_records_that_are_late_leave_no_more_than_the_queue_has() -> None:
    one = batch("b", jobs=10, items=40)
    assert left(workload([one], Progress("m"), {"t": 3}, background=0)) == {"t.b": 12}


def test_the_oldest_batch_is_the_first_to_be_done() -> None:
    old, new = batch("old", jobs=4, items=4), batch("new", jobs=4, items=4, at=2.0)
    found = left(workload([new, old], Progress("m"), {"t": 5}, background=0))
    assert found == {"t.old": 1, "t.new": 4}


def test_jobs_of_no_batch_are_work_without_a_deadline() -> None:
    one = batch("b", jobs=2, items=2)
    found = workload([one], Progress("m"), {"t": 5, "u": 1}, background=3)
    assert left(found) == {"t.b": 2, "t._": 3, "u._": 1, "background": 3}
    assert {one.deadline for one in found if one.name != "t.b"} == {None}


def test_what_is_not_submitted_yet_may_never_come() -> None:
    manifest = Manifest(
        id="b", tenant="t", model="m", tier=Tier.BATCH, input_sha256="", input_name="",
        layout=(Run(3, 4), Run(1, 2)), created_at=5.0, completion_window_s=60.0, submitted_jobs=2,
    )  # fmt: skip
    assert submitted(manifest) == Submitted("t.b", "t", 2, 8, 65.0, 5.0)


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9), st.integers(0, 300)), max_size=5),
    st.integers(0, 100),
)
def test_no_batch_has_more_left_than_it_has_and_all_no_more_than_the_queue(
    shapes: list[tuple[int, int, int]], jobs: int
) -> None:
    batches = [
        batch(f"b{n}", jobs=count, items=count * size, at=float(n))
        for n, (count, size, _) in enumerate(shapes)
    ]
    progress = done(**{f"b{n}": made for n, (_, _, made) in enumerate(shapes)})
    found = left(workload(batches, progress, {"t": jobs}, background=0))
    biggest = max((size for _, size, _ in shapes), default=1)
    assert all(items > 0 for items in found.values())
    assert all(found.get(one.name, 0) <= one.items for one in batches)
    assert sum(found.values()) <= jobs * biggest
    assert bool(found) == (jobs > 0)
