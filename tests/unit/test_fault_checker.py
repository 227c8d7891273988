"""The campaign's checker finds what it is there to find, and its report adds up."""

from pathlib import Path

import pytest

from tests.fault.checker import Found, Limits, check
from tests.fault.history import Entry, History, Op, read
from tests.fault.play import Played, Scenario
from tests.fault.report import after_kill, after_outage, after_release, report
from tests.fault.scenarios import HANDOVER

LIMITS = Limits(nodes=2, checkpoint_s=0.5, slots=8, tokens_per_s=10, items={"j": 2})


def entry(op: Op, outcome: str = "", *, t: float = 0.0, item: int | None = None) -> Entry:
    job = "j" if op in {"publish", "line", "dead", "taken_over", "released", "lost"} else ""
    return Entry(t=t, actor="n", op=op, job=job, item=item, outcome=outcome)


GOOD = [
    entry("publish", "stored"),
    entry("line", "right", item=0),
    entry("line", "right", item=1),
    entry("tokens_generated", "20"),
    entry("tokens_delivered", "20"),
]


def test_a_history_without_flaw_is_found_good() -> None:
    found = check(GOOD, LIMITS)
    assert (found.violations, found.jobs, found.items) == ((), 1, 2)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (entry("line", "right", item=1), "I2: j item 1 has 2 lines"),
        (entry("line", "wrong", item=3), "I4: j item 3 is wrong"),
        (entry("tokens_generated", "50"), "I3: 50 tokens again, 0 allowed"),
        (entry("line", "error:Oh no", item=3), "I5: the error of j item 3"),
        (entry("line", "error:expired:unclear", item=3), "I5: the error of j item 3"),
        (entry("still_queued", "running"), "I6: still in the queue"),
        (entry("deaf"), "I6: alive and deaf"),
        (entry("left_behind", "connection"), "I8: left behind"),
        (entry("unproven", "item 1"), "`fleet verify`"),
    ],
)
def test_each_flaw_is_named(more: Entry, words: str) -> None:
    (violation,) = check([*GOOD, more], LIMITS).violations
    assert violation.startswith(words)


def test_an_item_without_result_is_lost_unless_its_job_is_a_dead_letter() -> None:
    partly = [GOOD[0], GOOD[1]]
    assert check(partly, LIMITS).violations == ("I1: j item 1 has no result and no dead letter",)
    assert check([*partly, entry("dead", "error:invalid_json")], LIMITS).violations == ()


def test_a_publish_that_nobody_confirmed_may_have_happened_or_not() -> None:
    assert check([entry("publish", "unknown")], LIMITS).violations == ()


def test_each_interruption_may_cost_what_was_not_yet_saved() -> None:
    again = entry("tokens_generated", "100")
    assert check([*GOOD, again, entry("kill")], LIMITS).allowed == 120
    assert check([*GOOD, again, entry("kill")], LIMITS).violations == ()
    assert check([*GOOD, again, entry("notice")], LIMITS).violations
    assert check([*GOOD, again, entry("outage", "2.0")], LIMITS).allowed == 2 * 8 * 10 * 3.5


def test_a_history_survives_on_disk(tmp_path: Path) -> None:
    with History(tmp_path / "h.jsonl") as history:
        for one in GOOD:
            history.add(one)
    assert list(read(tmp_path / "h.jsonl")) == GOOD


def test_waits_are_measured_from_the_interruption_to_the_next_sign_of_work() -> None:
    entries = [
        entry("kill", t=10.0),
        entry("taken_over", "n", t=12.5),
        entry("taken_over", "n", t=12.0),
        entry("released", t=20.0),
        entry("taken_over", "", t=20.1),
        entry("outage", "1.0", t=30.0),
        entry("line", "right", t=30.4, item=0),
    ]
    assert list(after_kill(entries)) == [2.0]
    assert list(after_release(entries)) == [pytest.approx(0.1)]
    assert list(after_outage(entries)) == [pytest.approx(0.4)]


async def nothing(_: object) -> None: ...


def test_the_report_counts_by_fault_and_lists_violations(tmp_path: Path) -> None:
    with History(tmp_path / "h.jsonl") as history:
        history.add(entry("kill", t=1.0))
        history.add(entry("taken_over", "n", t=3.0))
    found = Found(
        jobs=2, items=8, lost=0, doubled=0, wrong=1, interruptions=2, again=30, allowed=100,
        violations=("I4: j item 3 is wrong",),
    )  # fmt: skip
    scenario = Scenario("kill", "kill -9", nothing)
    text = report([Played(scenario, seed, 1.0, found, history) for seed in (1, 2)], where="here")
    assert "| kill | kill -9 | 2 | 4 | 16 | 0 | 0 | 2 | 4 | 60 | 15 |" in text
    assert "| kill -9, in all others | 2 | 2.00 | 2.00 | 2.00 |" in text
    roomy = report([Played(HANDOVER, 1, 1.0, found, history)], where="here")
    assert "| kill -9, another has room (until taken over) | 1 | 2.00 | 2.00 | 2.00 |" in roomy
    assert "- kill, seed 2: I4: j item 3 is wrong" in text
