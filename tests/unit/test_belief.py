"""What of a checkpoint is believed, whoever wrote it."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from consumers.belief import believed
from consumers.engine import EngineFacts
from fleet.claim import Saved
from fleet.job import Job
from tests.asking import chat
from tests.fakes import job_of

FACTS = EngineFacts(
    name="scripted", version="1", model="m", dtype="none", context_tokens=20, vocabulary=100,
    slots=4, exact=True, embeds=False, default_tokens=12,
)  # fmt: skip
END = 99
JOB = job_of(
    chat("p", 8),
    {"url": "/v1/embeddings", "body": {"input": "p"}},
    {"url": "/v1/completions", "body": {"prompt": [1, 2, 3], "max_tokens": 50}},
    {"url": "/v1/nothing", "body": {}},
    chat("p", 8, ignore_eos=True),
    {"url": "/v1/chat/completions", "body": {"messages": [{"role": "user", "content": "p"}]}},
)


def doubts(*saved: Saved, job: Job = JOB) -> list[str]:
    """Doubt all that is saved, and say why."""
    kept, found = believed(saved, job, facts=FACTS, end_token_ids={END})
    assert kept == ()
    return sorted(found)


@pytest.mark.parametrize(
    "saved",
    [
        Saved(0, (1, 2), (3, 4)),
        Saved(0, (), ()),  # begun once, begins again
        Saved(0, (0, 99), (99,)),
        Saved(0, (1,), (5,) * 8),
        Saved(2, (1, 2, 3), (5,) * 17),
        Saved(4, (1,), (END, 5, END)),
        Saved(5, (1,), (5,) * 12),
    ],
)
def test_what_a_consumer_saves_is_believed(saved: Saved) -> None:
    assert believed([saved], JOB, facts=FACTS, end_token_ids={END}) == ((saved,), frozenset())


@pytest.mark.parametrize(
    ("saved", "doubt"),
    [
        (Saved(-1, (1,), (2,)), "none of the job's 6"),
        (Saved(6, (1,), (2,)), "none of the job's 6"),
        (Saved(10**300, (), ()), "none of the job's 6"),
        (Saved(1, (1,), (2,)), "generates no tokens"),
        (Saved(3, (1,), (2,)), "generates no tokens"),
        (Saved(0, (), (2,)), "no prompt"),
        (Saved(2, (1, 2, 4), (2,)), "not the one that was sent"),
        (Saved(0, (1,), (100,)), "outside of the vocabulary of 100"),
        (Saved(0, (10**300,), (1,)), "outside of the vocabulary of 100"),
        (Saved(0, (1,), (-1,)), "outside of the vocabulary of 100"),
        (Saved(0, (1,) * 19, (1, 1)), "longer than the context of 20"),
        (Saved(0, (1,), (1,) * 9), "longer than was asked for"),
        (Saved(5, (1,), (1,) * 13), "longer than was asked for"),
        (Saved(0, (1,), (5, END, 5)), "behind its end"),
    ],
)
def test_nonsense_is_not_believed(saved: Saved, doubt: str) -> None:
    (found,) = doubts(saved)
    assert doubt in found


def test_an_item_that_is_saved_twice_is_believed_neither_time() -> None:
    good = Saved(0, (1,), (2,))
    assert doubts(good, Saved(0, (1,), (2, 3))) == ["an item is saved twice"]
    assert doubts(good, good) == ["an item is saved twice"]


def test_nonsense_about_one_item_costs_its_neighbours_nothing() -> None:
    good = Saved(0, (1,), (2,))
    kept, found = believed(
        [Saved(77, (), ()), good, Saved(2, (), (5,))], JOB, facts=FACTS, end_token_ids={END}
    )
    assert kept == (good,)
    assert len(found) == 2


IDS = st.lists(st.integers(-2, 102), max_size=25).map(tuple)


@given(saved=st.lists(st.builds(Saved, st.integers(-2, 8), IDS, IDS), max_size=8))
def test_what_is_believed_is_fit_for_the_engine(saved: list[Saved]) -> None:
    kept, _ = believed(saved, JOB, facts=FACTS, end_token_ids={END})
    assert len({entry.index for entry in kept}) == len(kept)
    for entry in kept:
        if entry.done_ids:
            assert entry.prompt_ids
            assert len(entry.prompt_ids + entry.done_ids) <= FACTS.context_tokens
            assert all(0 <= i < FACTS.vocabulary for i in entry.prompt_ids + entry.done_ids)
