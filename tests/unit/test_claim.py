"""Who may run a delivery: the whole table, row by row."""

import msgspec
import pytest

from fleet.claim import (
    STALE_INTERVALS,
    Claim,
    Conflict,
    Decision,
    Done,
    GiveBack,
    Saved,
    Start,
    TakeOver,
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
    return take_over(claim, owner="node-2", writer="w2", sha256=SHA, progress=progress)


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
    suspected = msgspec.structs.replace(HELD, suspects=3)
    assert taken(suspected, progress=6).suspects == 0
    assert taken(msgspec.structs.replace(suspected, owner=None), progress=5).suspects == 0


def test_a_consumer_that_died_before_its_first_claim_is_suspected_unless_it_wrote_lines() -> None:
    assert taken(None, progress=0).suspects == 1
    claim = taken(None, progress=2)
    assert (claim.suspects, claim.interruptions, claim.sha256) == (0, 1, SHA)


def test_a_claim_survives_the_wire() -> None:
    claim = taken(msgspec.structs.replace(HELD, saved=(Saved(1, (2,), ()),)), progress=6)
    assert msgspec.json.decode(msgspec.json.encode(claim), type=Claim) == claim
