"""A batch's cost, shared out to its jobs."""

import pytest

from fleet.cost import Row
from fleet.job import FleetInfo, ResultLine, WireError
from fleet.job_costs import JobWorks, job_rows


def batch(name: str = "acme/b1", usd: float = 12.0) -> Row:
    return Row(name=name, hours=6.0, usd=usd, direct_usd=usd / 2, on_demand_usd=2 * usd)


def line(item: int, *, node: str = "n", engine_s: float = 1.0, tokens: int = 10) -> ResultLine:
    return ResultLine(
        id=f"j-{item}",
        custom_id=None,
        error=WireError("x", "x"),
        usage={"completion_tokens": tokens},
        fleet=FleetInfo(
            job="j", item=item, items=9, node=node, capacity_type="spot", engine_s=engine_s
        ),
    )


def costs(works: JobWorks, *rows: Row) -> dict[str, float]:
    return {row.name: row.usd for row in job_rows(rows or [batch()], works)}


def test_jobs_share_by_the_engine_time_of_their_lines_at_the_price_of_their_nodes() -> None:
    works = JobWorks({"cheap": 1.0, "dear": 2.0})
    works.take("acme", "b1", "j1", [line(0, node="cheap"), line(1, node="cheap", engine_s=3)])
    works.take("acme", "b1", "j2", [line(0, node="dear", engine_s=4)])
    assert costs(works) == {"acme/b1/j1": 4.0, "acme/b1/j2": 8.0}
    dear, cheap = job_rows([batch()], works)
    assert (dear.hours, dear.direct_usd, dear.saved_usd) == (4.0, 4.0, 8.0)
    assert (cheap.items, cheap.output_tokens) == (2, 20)
    assert cheap.usd_per_million == pytest.approx(200_000)


def test_work_of_a_node_whose_price_nobody_knows_counts_as_that_of_the_others() -> None:
    works = JobWorks({"a": 0.0004, "b": 0.0006})
    works.take("acme", "b1", "j1", [line(0, node="a"), line(1, node="b")])
    works.take("acme", "b1", "j2", [line(0, node="gone", engine_s=2.0)])
    assert costs(works) == {"acme/b1/j1": pytest.approx(6.0), "acme/b1/j2": pytest.approx(6.0)}


def test_a_line_counts_once_however_often_it_is_read() -> None:
    works = JobWorks({})
    for _ in range(2):
        works.take("acme", "b1", "j1", [line(0)])
    works.take("acme", "b1", "j2", [line(0)])
    assert costs(works) == {"acme/b1/j1": 6.0, "acme/b1/j2": 6.0}


def test_lines_that_tell_no_engine_time_count_by_their_number() -> None:
    works = JobWorks({})
    works.take("acme", "b1", "j1", [line(n, engine_s=0.0) for n in range(3)])
    works.take("acme", "b1", "j2", [line(0, engine_s=-5.0)])
    assert costs(works) == {"acme/b1/j1": 9.0, "acme/b1/j2": 3.0}


def test_a_batch_whose_lines_are_gone_stays_one_row_and_the_sum_is_kept() -> None:
    works = JobWorks({})
    works.take("acme", None, "j1", [line(0)])
    works.take("acme", "b1", "j2", [])
    rows = [batch(), batch("acme/-", 3.0), batch("-", 1.0)]
    assert costs(works, *rows) == {"acme/b1/-": 12.0, "acme/-/j1": 3.0, "-": 1.0}
