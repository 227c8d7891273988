import pytest

from fleet import subjects
from fleet.errors import JobRejected
from fleet.job import Tier


@pytest.mark.parametrize("text", ["a", "0", "smollm2", "a-b_c", "a" * 63])
def test_a_plain_lower_case_name_is_a_token(text: str) -> None:
    assert subjects.token(text, what="model") == text


@pytest.mark.parametrize(
    "text", ["", "A", "-a", "_", "a.b", "a b", "*", ">", "a\n", "é", "a" * 64, "a/b", "$js"]
)
def test_other_names_are_refused_and_quoted_safely(text: str) -> None:
    with pytest.raises(JobRejected, match=r"^tenant '") as caught:
        subjects.token(text, what="tenant")
    assert caught.value.code == "invalid_name"
    assert str(caught.value).isprintable()


def test_no_id_can_pass_for_the_place_of_jobs_without_a_batch() -> None:
    with pytest.raises(JobRejected):
        subjects.identifier(subjects.NO_BATCH, what="batch id")


def test_an_endless_name_is_cut_where_it_is_shown() -> None:
    with pytest.raises(JobRejected) as caught:
        subjects.identifier("x" * 100_000, what="job id")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("tier", Tier)
def test_a_job_subject_can_be_taken_apart_again(tier: Tier) -> None:
    subject = subjects.job_subject(tier, "smollm2", "acme")
    assert subject == f"jobs.{tier}.smollm2.acme"
    assert subjects.parse_job_subject(subject) == (tier, "smollm2", "acme")


@pytest.mark.parametrize(
    ("subject", "code"),
    [
        ("", "invalid_subject"),
        ("jobs.batch.m", "invalid_subject"),
        ("jobs.batch.m.t.x", "invalid_subject"),
        ("results.batch.m.t", "invalid_subject"),
        ("jobs.urgent.m.t", "unknown_tier"),
        ("jobs.*.m.t", "unknown_tier"),
        ("jobs.batch.*.t", "invalid_name"),
        ("jobs.batch.m.>", "invalid_name"),
        ("jobs.batch..t", "invalid_name"),
    ],
)
def test_a_stored_subject_with_a_wildcard_or_a_hole_is_refused(subject: str, code: str) -> None:
    with pytest.raises(JobRejected) as caught:
        subjects.parse_job_subject(subject)
    assert caught.value.code == code


def test_names_on_the_wire_are_these() -> None:
    assert subjects.job_stream(Tier.BATCH) == "JOBS_BATCH"
    assert subjects.durable(Tier.BATCH, "smollm2") == "batch_smollm2"
    assert subjects.results_subject("acme", None, "j1") == "results.acme._.j1"
    assert subjects.results_subject("acme", "B7", "j1") == "results.acme.B7.j1"
    assert subjects.tokens_subject("acme", None, "j1") == "tokens.acme._.j1"
    assert subjects.tell_subject("acme", None, "j1") == "tell.acme._.j1"
    assert subjects.dead_subject("batch", "m", "*") == "dead.batch.m._"
    assert subjects.event_subject("job_dead", "node-1") == "events.job_dead.node-1"
    assert subjects.event_subject("job_dead", "a.b") == "events.job_dead._"
    assert subjects.claim_key("acme", "j1") == "acme.j1"
    assert subjects.batch_key("acme", "B7") == "acme.B7"


def test_foreign_text_keeps_both_ends_when_it_is_cut() -> None:
    shown = subjects.plain("begin\x07" + "x" * 1000 + "end")
    assert shown.startswith("begin\\x07xx")
    assert shown.endswith("xend")
    assert subjects.plain("naïve 🚀") == "naïve 🚀"
