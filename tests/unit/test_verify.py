"""What the result log proves, and what it says when something is missing or double."""

from collections.abc import Sequence

import pytest

from fleet.job import FleetInfo, Response, ResultLine, Tier, WireError
from fleet.manifest import Manifest, Run
from fleet.proof import Flaw, Logged, Proof
from fleet.verify import Verifier

TENANT = "acme"
MANIFEST = Manifest(
    id="b",
    tenant=TENANT,
    model="m",
    tier=Tier.BATCH,
    input_sha256="0" * 64,
    input_name="f",
    layout=(Run(jobs=2, items=2), Run(jobs=1, items=1)),
    created_at=1000.0,
    state="submitted",
    submitted_jobs=3,
)
FIRST, SECOND, LAST = (f"b-{n:06}" for n in range(3))


def line(job: str, item: int, items: int, *, error: str | None = None) -> ResultLine:
    usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    return ResultLine(
        id=f"{job}-{item}",
        custom_id=None,
        response=None
        if error
        else Response(status_code=200, request_id="r", body={"usage": dict(usage)}),
        error=WireError(code=error, message="no") if error else None,
        usage=None if error else usage,
        fleet=FleetInfo(job=job, item=item, items=items, node="n", capacity_type="spot"),
    )


class Story:
    """A result log as it grows."""

    def __init__(self, verifier: Verifier | None = None) -> None:
        self.verifier = verifier or Verifier()
        self._sequence = 0

    def says(
        self, job: str, items: Sequence[int], *, of: int = 2, run: str | None = "a",
        error: str | None = None,
    ) -> "Story":  # fmt: skip
        lines = tuple(line(job, item, of, error=error) for item in items)
        return self._next(job, run=run, lines=lines, is_claim=False)

    def takes_over(self, job: str, run: str) -> "Story":
        return self._next(job, run=run, lines=(), is_claim=True)

    def proof(self) -> Proof:
        return self.verifier.proof()

    def flaws(self) -> list[Flaw]:
        return list(self.proof().flaws)

    def _next(
        self, job: str, *, run: str | None, lines: tuple[ResultLine, ...], is_claim: bool
    ) -> "Story":
        self._sequence += 1
        self.verifier.log(
            Logged(
                sequence=self._sequence,
                tenant=TENANT,
                batch="_",
                job=job,
                run=run,
                is_claim=is_claim,
                lines=lines,
                written_at=2000.0,
            )
        )
        return self


def whole_batch() -> Story:
    story = Story(Verifier(manifest=MANIFEST))
    return story.says(FIRST, [0, 1]).says(SECOND, [1]).says(SECOND, [0]).says(LAST, [0], of=1)


def test_a_batch_whose_every_item_has_one_line_is_proven() -> None:
    proof = whole_batch().proof()
    assert (proof.verdict, proof.flaws, proof.open) == ("proven", (), ())
    assert (proof.jobs, proof.items, proof.lines) == (3, 5, 5)
    assert proof.ended == {"result": 3}
    assert proof.usage == {"prompt_tokens": 15, "completion_tokens": 25, "total_tokens": 40}
    assert proof.usage_lines == proof.usage


def test_a_take_over_hands_the_pen_to_the_run_that_it_names() -> None:
    story = Story().says("j", [0]).takes_over("j", "b").says("j", [1], run="b")
    assert (story.proof().verdict, story.proof().take_overs) == ("proven", 1)


def test_a_line_of_a_run_that_was_fenced_out_is_a_flaw() -> None:
    (flaw,) = Story().says("j", [0]).takes_over("j", "b").says("j", [1], run="a").flaws()
    assert (flaw.kind, flaw.job) == ("fence", "j")


def test_two_runs_without_a_take_over_are_a_flaw() -> None:
    (flaw,) = Story().says("j", [0]).says("j", [1], run="b").flaws()
    assert flaw.kind == "fence"


def test_a_second_line_of_an_item_is_named_with_its_item() -> None:
    (flaw,) = Story().says("j", [0, 1]).says("j", [1]).flaws()
    assert (flaw.kind, flaw.job, flaw.item) == ("doubled", "j", 1)


def test_an_item_without_a_line_is_missing_once_its_job_is_in_no_queue() -> None:
    story = Story().says("j", [1], of=3)
    assert [(flaw.kind, flaw.item) for flaw in story.flaws()] == [("missing", 0), ("missing", 2)]
    assert all("submit it again with the same id" in flaw.remedy for flaw in story.flaws())


def test_a_job_that_is_still_queued_is_open() -> None:
    story = Story().says("j", [1], of=3)
    story.verifier.claim(TENANT, "j", owner="spot-1", written_at=2000.0)
    story.verifier.queued(TENANT, "j")
    story.verifier.queued(TENANT, "k")
    proof = story.proof()
    assert proof.verdict == "open"
    assert [(job.job, job.state, job.items_done) for job in proof.open] == [
        ("j", "running", 1),
        ("k", "queued", 0),
    ]


def test_a_claim_of_a_job_that_is_nowhere_is_a_lost_job() -> None:
    verifier = Verifier()
    verifier.claim(TENANT, "j", owner=None, written_at=2000.0)
    (flaw,) = verifier.proof().flaws
    assert (flaw.kind, flaw.job, flaw.item) == ("missing", "j", None)


def later(story: Story, sequence: int, job: str, item: int, items: int) -> None:
    story.verifier.later(
        Logged(
            sequence=sequence, tenant=TENANT, batch="_", job=job, run="a", is_claim=False,
            lines=(line(job, item, items),), written_at=2001.0,
        )
    )  # fmt: skip


def test_a_job_that_was_acknowledged_between_two_looks_is_no_loss() -> None:
    story = Story().says("j", [0])
    later(story, 9, "j", 1, 2)
    assert story.proof().verdict == "proven"


def test_a_job_that_came_and_went_between_two_looks_is_known() -> None:
    story = Story()
    later(story, 9, "quick", 0, 1)
    assert (story.proof().verdict, story.proof().jobs) == ("proven", 1)


def test_a_job_that_began_after_the_queue_was_read_goes_on() -> None:
    story = Story()
    later(story, 9, "new", 1, 2)
    (going,) = story.proof().open
    assert (going.job, going.state, going.items_done) == ("new", "running", 1)


def test_a_dead_letter_is_an_end() -> None:
    story = Story()
    story.verifier.dead(TENANT, "j", code="invalid_json")
    assert (story.proof().verdict, story.proof().ended) == ("proven", {"dead": 1})


@pytest.mark.parametrize(("code", "end"), [("expired", "expired"), ("context_exceeded", "error")])
def test_a_job_of_errors_ends_as_they_say(code: str, end: str) -> None:
    assert Story().says("j", [0, 1], error=code).proof().ended == {end: 1}


def test_a_job_that_the_batch_planned_and_nobody_knows_is_missing() -> None:
    story = Story(Verifier(manifest=MANIFEST)).says(FIRST, [0, 1]).says(LAST, [0], of=1)
    (flaw,) = story.flaws()
    assert (flaw.kind, flaw.job) == ("missing", SECOND)


def test_another_job_under_a_batchs_id_is_a_flaw() -> None:
    story = Story(Verifier(manifest=MANIFEST)).says(FIRST, [0], of=1)
    assert ("foreign", FIRST) in [(flaw.kind, flaw.job) for flaw in story.flaws()]


def test_what_is_not_ours_counts_for_nothing() -> None:
    story = Story().says("j", [0, 1]).says("j", [0], run=None)
    assert story.proof().verdict == "proven"


def test_usage_that_differs_from_the_answers_own_is_a_flaw() -> None:
    story = Story().says("j", [0], of=1)
    wrong = line("k", 0, 1)
    wrong.usage["completion_tokens"] = 6  # type: ignore[index]
    story.verifier.log(
        Logged(
            sequence=5, tenant=TENANT, batch="_", job="k", run="a", is_claim=False,
            lines=(wrong,), written_at=2000.0,
        )
    )  # fmt: skip
    (flaw,) = story.flaws()
    assert (flaw.kind, flaw.job, flaw.item) == ("usage", "k", 0)


def test_more_tokens_in_the_events_than_in_the_lines_is_a_flaw_of_the_batch() -> None:
    story = whole_batch()
    story.verifier.recorded(25)
    assert story.proof().verdict == "proven"
    story.verifier.recorded(5)
    (flaw,) = story.flaws()
    assert flaw.kind == "usage"


def test_a_log_of_which_a_part_may_have_expired_proves_nothing() -> None:
    story = Story(Verifier(since=3000.0)).says("j", [1], of=3)
    proof = story.proof()
    assert (proof.verdict, proof.too_old) == ("proven", 1)


def test_a_dead_letter_is_no_end_of_a_job_that_was_answered_in_part() -> None:
    story = Story().says("j", [0])
    story.verifier.dead(TENANT, "j", code="invalid_deadline")
    assert [(flaw.kind, flaw.item) for flaw in story.flaws()] == [("missing", 1)]


def test_a_dead_letter_of_another_job_with_its_id_does_not_hide_a_lost_one() -> None:
    story = Story()
    story.verifier.claim(TENANT, "j", owner="n", written_at=2000.0)
    story.verifier.dead(TENANT, "j", code="id_conflict")
    story.verifier.dead(TENANT, "k", code="id_conflict")
    proof = story.proof()
    assert [(flaw.kind, flaw.job) for flaw in proof.flaws] == [("missing", "j")]
    assert proof.ended == {"dead": 1}  # of k nothing else is known, nor kept


def test_a_claim_that_outlived_its_results_proves_nothing() -> None:
    verifier = Verifier(since=3000.0)
    verifier.claim(TENANT, "j", owner="n", written_at=2000.0)
    assert (verifier.proof().verdict, verifier.proof().too_old) == ("proven", 1)


def test_a_batch_whose_results_have_expired_is_neither_proven_nor_lost() -> None:
    story = Story(Verifier(manifest=MANIFEST, since=1500.0)).says(FIRST, [0, 1])
    proof = story.proof()
    assert (proof.verdict, proof.flaws, proof.too_old) == ("not_proven", (), 2)
