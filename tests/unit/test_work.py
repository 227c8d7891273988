"""The state of a job between its delivery and its settlement."""

from consumers.answer import Answer
from consumers.meter import ShareClock
from consumers.scripted_engine import ScriptedEngine
from consumers.work import ItemRun, Work
from fleet.claim import Claim, Saved
from fleet.job import ChatBody, Item, WireError
from tests.asking import chat
from tests.fakes import job_of, line_of

SAVED = Saved(1, (1, 2), (300, 301))


def started(run: ItemRun, ids: tuple[int, ...], *, keeps: bool) -> None:
    """Let an item have generated `ids`."""
    assert isinstance(run.item, Item)
    assert isinstance(run.item.body, ChatBody)
    answer = Answer(
        engine=ScriptedEngine(model="m"), body=run.item.body, choice=0, prompt_ids=(7,),
        done_ids=ids, limit=100, watched=False,
    )  # fmt: skip
    run.answers, run.keeps = [answer], keeps


def work_of(items: int, *, claim: Claim | None = None) -> Work:
    job = job_of(*(chat(f"p{n}") for n in range(items)))
    return Work(job, done=frozenset(), last=0, claim=claim)


def claim_of(*saved: Saved) -> Claim:
    return Claim(owner="old", writer="w", sha256="s", interruptions=2, saved=saved)


def test_items_with_a_line_are_not_open() -> None:
    work = Work(job_of(chat("a"), chat("b"), chat("c")), done=frozenset({1}), last=5)
    assert [run.item.index for run in work.open] == [0, 2]
    assert (work.items_done, work.complete) == (1, False)


def test_an_item_that_was_not_begun_keeps_what_an_earlier_consumer_saved() -> None:
    assert work_of(2, claim=claim_of(SAVED)).saved() == (SAVED,)


def test_the_tokens_of_a_running_item_are_saved_with_its_prompt() -> None:
    work = work_of(2)
    started(work.open[0], (300, 301), keeps=True)
    started(work.open[1], (), keeps=True)
    assert work.saved() == (Saved(0, (7,), (300, 301)),)


def test_an_item_that_will_begin_again_is_saved_without_tokens() -> None:
    work = work_of(1)
    started(work.open[0], (300,), keeps=False)
    assert work.saved() == (Saved(0, (), ()),)


def test_an_item_that_began_again_is_still_counted_before_its_first_token() -> None:
    before = Saved(0, (), ())
    work = work_of(1, claim=claim_of(before))
    started(work.open[0], (), keeps=False)
    assert work.saved() == (before,)


def test_a_finished_item_is_pending_until_it_is_written() -> None:
    work = work_of(2)
    first, second = line_of(work.job, 0), line_of(work.job, 1)
    work.finish(second)
    work.finish(first)
    assert (work.complete, work.items_done, work.changed.is_set()) == (True, 2, True)
    assert work.written({1, 9}) == (second,)
    assert work.pending == [first]


def test_all_claims_of_a_run_carry_its_token_and_the_history_of_the_job() -> None:
    work = work_of(2, claim=claim_of(SAVED))
    first, second = work.next_claim(owner="me"), work.next_claim(owner=None)
    assert first.writer == second.writer == work.writer != "w"
    assert (first.owner, second.owner) == ("me", None)
    assert (first.interruptions, work.progress) == (2, 2)
    assert work_of(2).writer != work.writer


def test_progress_grows_with_every_token_and_more_with_every_item() -> None:
    work = work_of(2, claim=claim_of(SAVED))
    before = work.progress
    started(work.open[1], (300, 301, 302), keeps=True)
    more = work.progress
    work.finish(line_of(work.job, 1))
    assert before < more < work.progress


def test_a_checkpoint_makes_the_time_safe_that_its_tokens_took_and_no_other() -> None:
    now = [0.0]
    clock = ShareClock(lambda: now[0])
    work = work_of(3)
    for run in work.open:
        run.share.begin(clock)
    started(work.open[0], (300,), keeps=True)
    started(work.open[1], (300,), keeps=False)
    now[0] = 6.0
    used_s = work.used()
    assert used_s == {0: 2.0}
    now[0] = 9.0
    work.finish(line_of(work.job, 0))
    assert work.secure(used_s) == 2.0
    assert work.secure_written({0}) == 1.0
    assert work.secure_written({0}) == 0.0


def test_an_item_that_failed_is_none_that_a_notice_waits_for() -> None:
    work = work_of(2)
    started(work.open[0], (300,), keeps=False)
    assert [pace.keeps for pace in work.paces] == [False, False]
    work.fail(work.open[0], WireError(code="failed", message="may pass"))
    assert len(work.paces) == 1
