"""A batch's numbers follow from its result lines."""

import pytest

from fleet.batch_status import BatchStatus, Pace, RequestCounts, Tally
from fleet.errors import FleetError
from fleet.job import FleetInfo, Response, ResultLine, Tier, WireError
from fleet.manifest import Manifest, Run, batch_name, job_id, job_number


def manifest(**changes: object) -> Manifest:
    known: dict[str, object] = {
        "id": "b",
        "tenant": "acme",
        "model": "m",
        "tier": Tier.BATCH,
        "input_sha256": "0",
        "input_name": "in.jsonl",
        "layout": (Run(2, 3), Run(1, 1)),
        "created_at": 1000.0,
        "state": "submitted",
        "submitted_jobs": 3,
    }
    return Manifest(**{**known, **changes})  # type: ignore[arg-type]


def line(job: int, item: int, *, fails: bool = False, cost_usd: float | None = None) -> ResultLine:
    name = job_id("b", job)
    answer = Response(status_code=200, request_id="r", body={})
    return ResultLine(
        id=f"{name}-{item}",
        custom_id=None,
        response=None if fails else answer,
        error=WireError("c", "m") if fails else None,
        usage={"prompt_tokens": 5, "completion_tokens": 7},
        fleet=FleetInfo(
            job=name, item=item, items=3, node="n", capacity_type="spot", interruptions=1,
            cost_usd=cost_usd,
        ),
    )  # fmt: skip


def told(lines: list[ResultLine], batch: Manifest | None = None) -> BatchStatus:
    batch = batch or manifest()
    tally = Tally(batch)
    for each in lines:
        tally.add(each.fleet.job, [each])
    return tally.status(batch)


ALL = [line(0, 0), line(0, 1), line(0, 2), line(1, 0), line(1, 1), line(1, 2), line(2, 0)]


def test_a_batch_without_results_is_in_progress() -> None:
    status = told([])
    assert (status.status, status.request_counts) == ("in_progress", RequestCounts(7, 0, 0))


def test_a_batch_is_complete_when_every_request_has_its_line() -> None:
    assert told(ALL[:-1]).status == "in_progress"
    assert told(ALL).status == "completed"


def test_failed_requests_are_counted_apart() -> None:
    status = told([*ALL[:-1], line(2, 0, fails=True)])
    assert (status.status, status.request_counts) == ("completed", RequestCounts(7, 6, 1))


def test_tokens_interruptions_and_cost_add_up() -> None:
    status = told([line(0, 0, cost_usd=0.25), line(0, 1)])
    assert (status.usage.input_tokens, status.usage.output_tokens) == (10, 14)
    assert status.usage.total_tokens == 24
    assert (status.fleet.interruptions, status.fleet.cost_usd) == (2, 0.25)


def test_the_first_line_of_a_request_counts() -> None:
    tally = Tally(manifest())
    first, second = line(0, 0), line(0, 0, fails=True)
    assert tally.add(first.fleet.job, [first, second]) == [first]
    status = tally.status(manifest())
    assert (status.request_counts.failed, status.fleet.duplicate_lines) == (0, 1)


@pytest.mark.parametrize("foreign", [line(3, 0), line(2, 1), line(0, 3), line(0, -1)])
def test_a_line_of_no_request_is_not_used(foreign: ResultLine) -> None:
    tally = Tally(manifest())
    assert tally.add(foreign.fleet.job, [foreign]) == []
    assert tally.status(manifest()).fleet.foreign_lines == 1


def test_a_cancelled_batch_waits_only_for_what_was_submitted() -> None:
    half = manifest(state="cancelling", submitted_jobs=1)
    assert told(ALL[:2], half).status == "cancelling"
    assert told(ALL[:3], half).status == "cancelled"
    # Lines of a job whose submission was not recorded do not stand in for those that are missing.
    assert told([ALL[0], ALL[1], *ALL[3:6]], half).status == "cancelling"


def test_the_window_is_shown_as_openai_does() -> None:
    status = told([], manifest(completion_window_s=86_400.0))
    assert (status.completion_window, status.expires_at) == ("24h", 87_400)
    assert told([], manifest(completion_window_s=90.0)).completion_window == "90s"


def test_the_time_left_follows_from_the_last_minute() -> None:
    pace = Pace()
    assert pace.eta_s(0.0, RequestCounts(100, 0, 0)) is None
    assert pace.eta_s(10.0, RequestCounts(100, 10, 0)) == pytest.approx(90.0)
    assert pace.eta_s(69.0, RequestCounts(100, 10, 0)) is None
    assert pace.eta_s(70.0, RequestCounts(100, 40, 10)) == pytest.approx(50 * 60 / 40)


@pytest.mark.parametrize(
    "layout", [(Run(10**6, 1), Run(1, 1)), (Run(1000, 1000), Run(1, 1)), (Run(1, 1),)]
)
def test_a_record_whose_numbers_make_no_sense_is_refused(layout: tuple[Run, ...]) -> None:
    with pytest.raises(ValueError, match="make no sense"):
        manifest(layout=layout)


def test_a_jobs_name_gives_its_number_back() -> None:
    assert job_id("a-000001", 7) == "a-000001-000007"
    assert job_number("a-000001", "a-000001-000007") == 7
    assert job_number("a", "a-000001-000007") is None
    assert job_number("a", "a-7") is None


@pytest.mark.parametrize("name", ["", "a.b", "../x", "x" * 58, "-a", "*"])
def test_a_bad_batch_name_is_refused(name: str) -> None:
    with pytest.raises(FleetError):
        batch_name(name)
