"""Who may run a delivery: the whole table, row by row."""

import msgspec
import pytest

from fleet.claim import (
    BACKOFF_MAX_S,
    HISTORY_MAX,
    STALE_INTERVALS,
    SUSPECTS_MAX,
    Claim,
    Conflict,
    Decision,
    Done,
    GiveBack,
    Past,
    Saved,
    Start,
    TakeOver,
    backoff_s,
    decide,
    take_over,
)

SHA, OTHER = "a" * 64, "b" * 64
HELD = Claim(owner="node-1", writer="w1", sha256=SHA, progress=5)
RELEASED = msgspec.structs.replace(HELD, owner=None)
STALE_S = STALE_INTERVALS * 5.0


def ask(
    *,
    redelivered: bool = True,
    log: str | None = None,
    complete: bool = False,
    claim: Claim | None = HELD,
    age_s: float = 1.0,
    alive: bool = True,
    isolates: bool = True,
) -> Decision:
    return decide(
        sha256=SHA,
        redelivered=redelivered,
        log_sha256=log,
        log_complete=complete,
        claim=claim,
        revision=9 if claim else 0,
        claim_age_s=age_s,
        owner_alive=alive,
        checkpoint_s=5.0,
        isolates=isolates,
    )


def test_a_job_that_nobody_touched_begins() -> None:
    assert ask(redelivered=False, claim=None) == Start()


def test_a_redelivered_job_without_a_claim_may_have_lines_of_a_dead_consumer() -> None:
    assert ask(claim=None) == TakeOver(None, 0)
    assert ask(redelivered=False, claim=None, log=SHA) == TakeOver(None, 0)


def test_a_live_owner_whose_claim_moves_keeps_its_job() -> None:
    assert isinstance(ask(), GiveBack)
    assert isinstance(ask(age_s=STALE_S), GiveBack)


def test_a_claim_that_stands_still_is_taken_from_a_live_owner() -> None:
    assert ask(age_s=STALE_S + 0.1) == TakeOver(HELD, 9)


def test_a_dead_owner_loses_its_job_at_once() -> None:
    assert ask(alive=False) == TakeOver(HELD, 9)


def test_a_released_job_goes_on_wherever_it_lands() -> None:
    assert ask(claim=RELEASED) == TakeOver(RELEASED, 9)


def test_a_finished_job_is_only_acknowledged_whoever_claims_it() -> None:
    for claim in (None, HELD, RELEASED):
        assert ask(complete=True, log=SHA, claim=claim) == Done()


@pytest.mark.parametrize("complete", [True, False])
def test_other_content_under_the_same_id_is_a_conflict_before_anything_else(
    complete: bool,
) -> None:
    assert ask(log=OTHER, complete=complete, claim=None) == Conflict()
    assert ask(claim=msgspec.structs.replace(HELD, sha256=OTHER)) == Conflict()
    # The log is the older witness.
    assert ask(log=OTHER, complete=complete) == Conflict()


def taken(claim: Claim | None, *, progress: int) -> Claim:
    return take_over(claim, owner="node-2", writer="w2", sha256=SHA, progress=progress, at=7.0)


def test_the_next_owner_keeps_what_is_saved_and_counts_the_interruption() -> None:
    saved = (Saved(0, (1, 2), (3,)),)
    claim = taken(msgspec.structs.replace(HELD, saved=saved, attempts=1), progress=8)
    assert (claim.owner, claim.writer, claim.saved) == ("node-2", "w2", saved)
    assert (claim.attempts, claim.interruptions, claim.progress) == (1, 1, 8)


def test_an_owner_that_went_silent_without_progress_is_suspected() -> None:
    once = taken(HELD, progress=5)
    assert once.suspects == 1
    assert taken(once, progress=5).suspects == 2


def test_progress_or_a_word_of_farewell_clears_the_suspicion() -> None:
    suspected = msgspec.structs.replace(HELD, suspects=2)
    assert taken(suspected, progress=6).suspects == 0
    released = msgspec.structs.replace(suspected, owner=None)
    assert taken(released, progress=6).suspects == 0
    assert taken(released, progress=5).suspects == 2


def test_a_consumer_that_died_before_its_first_claim_is_suspected_unless_it_wrote_lines() -> None:
    assert taken(None, progress=0).suspects == 1
    claim = taken(None, progress=2)
    assert (claim.suspects, claim.interruptions, claim.sha256) == (0, 1, SHA)


def test_after_three_crashes_without_progress_the_items_run_alone_until_one_is_found() -> None:
    claim = HELD
    for crashes in (1, 2, 3):
        claim = taken(claim, progress=5)
        assert claim.isolated == (crashes == 3)
    for crashes in (1, 2):
        assert claim.isolated
        claim = taken(msgspec.structs.replace(claim, trying=4), progress=5)
        assert claim.condemned == (frozenset({4}) if crashes == 2 else frozenset())
        assert claim.trying is None
    assert not claim.isolated


def test_a_released_job_stays_isolated_and_nobody_is_blamed() -> None:
    alone = msgspec.structs.replace(HELD, suspects=SUSPECTS_MAX, trying=2, owner=None)
    claim = taken(alone, progress=9)
    assert claim.isolated
    assert claim.blamed == ()


def test_a_job_that_must_run_alone_is_left_to_consumers_that_can() -> None:
    alone = msgspec.structs.replace(RELEASED, suspects=SUSPECTS_MAX)
    assert isinstance(ask(claim=alone, isolates=False), GiveBack)
    assert ask(claim=alone) == TakeOver(alone, 9)


def test_the_history_says_who_had_the_job_and_how_that_ended_and_stays_short() -> None:
    claim = taken(HELD, progress=6)
    assert claim.history == (Past(7.0, "node-1", "silent"),)
    for _ in range(50):
        claim = taken(claim, progress=6)
    assert len(claim.history) == HISTORY_MAX


def test_the_wait_between_attempts_doubles_and_is_bounded() -> None:
    assert [backoff_s(n) for n in (1, 2, 3)] == [1, 2, 4]
    assert backoff_s(40) == BACKOFF_MAX_S


def test_a_claim_survives_the_wire_and_an_older_one_is_read() -> None:
    claim = taken(msgspec.structs.replace(HELD, saved=(Saved(1, (2,), ()),)), progress=6)
    assert msgspec.json.decode(msgspec.json.encode(claim), type=Claim) == claim
    older = {"owner": "n", "writer": "w", "sha256": SHA, "suspects": 1, "saved": [[1, [2], [3]]]}
    read = msgspec.json.decode(msgspec.json.encode(older), type=Claim)
    assert (read.saved, read.blamed, read.trying) == ((Saved(1, (2,), (3,)),), (), None)
