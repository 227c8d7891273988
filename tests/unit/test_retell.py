"""From where an answer goes on that somebody has begun to read."""

from hypothesis import given
from hypothesis import strategies as st

from consumers.retell import further, sorted_out
from fleet.job import TokenDelta
from fleet.told import Told

IDS = tuple(range(100, 120))


def delta(first: int, *ids: int, item: int = 0, choice: int = 0) -> TokenDelta:
    return TokenDelta(
        item=item, choice=choice, offset=first, token_ids=ids, text="x" * len(ids),
        text_offset=first,
    )  # fmt: skip


def piece(first: int, last: int) -> TokenDelta:
    return delta(first, *IDS[first:last])


def test_an_answer_goes_on_from_what_was_told_beyond_the_checkpoint() -> None:
    assert further([piece(0, 3), piece(3, 7)], IDS[:4], limit=20, vocabulary=500) == IDS[:7]


def test_an_answer_goes_on_from_what_was_told_before_the_first_checkpoint() -> None:
    assert further([piece(0, 3), piece(3, 7)], (), limit=20, vocabulary=500) == IDS[:7]


def test_an_answer_goes_on_from_the_checkpoint_if_less_was_told() -> None:
    assert further([piece(0, 3)], IDS[:4], limit=20, vocabulary=500) == IDS[:4]
    assert further([], IDS[:4], limit=20, vocabulary=500) == IDS[:4]


def test_what_was_told_goes_on_from_the_checkpoint_when_its_beginning_is_gone() -> None:
    assert further([piece(3, 5), piece(5, 9)], IDS[:4], limit=20, vocabulary=500) == IDS[:9]


def test_nothing_behind_a_gap_is_taken() -> None:
    assert further([piece(0, 3), piece(5, 9)], (), limit=20, vocabulary=500) == IDS[:3]
    assert further([piece(5, 9)], (), limit=20, vocabulary=500) == ()


def test_overlaps_are_taken_once() -> None:
    assert (
        further([piece(0, 3), piece(0, 3), piece(2, 6), piece(1, 4)], (), limit=20, vocabulary=500)
        == IDS[:6]
    )


def test_the_last_word_counts_among_consumers() -> None:
    assert further([piece(0, 3), delta(0, 7, 8)], (), limit=20, vocabulary=500) == (7, 8)


def test_what_contradicts_the_checkpoint_is_not_ours() -> None:
    assert further([delta(0, 7, 8, 9, 10, 11)], IDS[:2], limit=20, vocabulary=500) == IDS[:2]


def test_what_is_longer_than_the_answer_may_be_is_not_ours() -> None:
    assert further([piece(0, 6)], IDS[:2], limit=5, vocabulary=500) == IDS[:2]
    assert further([piece(0, 6)], (), limit=6, vocabulary=500) == IDS[:6]


def test_what_is_no_token_is_not_ours() -> None:
    for token_id in (-1, 500, 10**30):
        assert further([piece(0, 3), delta(3, token_id)], (), limit=20, vocabulary=500) == IDS[:3]


def test_nonsense_is_dropped_and_the_rest_is_sorted_by_item_and_choice() -> None:
    good = [delta(0, 1), delta(0, 2, item=1), delta(1, 3, item=1), delta(0, 4, choice=1)]
    bad = [
        delta(0, 1, item=2), delta(0, 1, item=-1), delta(-1, 1), delta(0, 1, choice=-1),
    ]  # fmt: skip
    assert sorted_out([*bad, *good], items=2) == {
        (0, 0): good[:1],
        (1, 0): good[1:3],
        (0, 1): good[3:],
    }


@given(
    cuts=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=12),
    saved=st.integers(0, 20),
)
def test_whatever_was_told_of_one_answer_it_goes_on_as_that_answer(
    cuts: list[tuple[int, int]], saved: int
) -> None:
    told = [piece(min(cut), max(cut)) for cut in cuts]
    ids = further(told, IDS[:saved], limit=20, vocabulary=500)
    assert ids == IDS[: len(ids)]
    assert len(ids) >= max(saved, len(Told(told).ids))


@given(st.lists(st.builds(
    TokenDelta, item=st.integers(-1, 2), choice=st.integers(-1, 1), offset=st.integers(-2, 6),
    text=st.text(max_size=3), text_offset=st.integers(-2, 6),
    token_ids=st.lists(st.integers(-1, 5), max_size=4).map(tuple),
    finish_reason=st.sampled_from([None, "stop"]),
)), st.lists(st.integers(0, 5), max_size=4))  # fmt: skip
def test_no_rubbish_gives_less_than_the_checkpoint_or_ids_that_are_none(
    deltas: list[TokenDelta], saved: list[int]
) -> None:
    for said in sorted_out(deltas, items=2).values():
        Told(said)
        ids = further(said, saved, limit=10, vocabulary=5)
        assert ids[: len(saved)] == tuple(saved)
        assert all(0 <= token_id < 5 for token_id in ids[len(saved) :])
