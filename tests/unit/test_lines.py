"""How a text is cut to the width of its column."""

from dashboard.lines import cells_of, cut
from dashboard.look import Look


def test_a_name_is_cut_in_its_middle_so_that_jobs_of_a_batch_differ() -> None:
    look = Look(ascii=False)
    first, second = (cut(f"batch-5065c36a0f11aef8dcb2-00000{n}", 16, look) for n in (1, 2))
    assert first == "batch-50…-000001"
    assert second.endswith("000002")
    assert cells_of(first) == 16


def test_words_are_cut_at_their_end() -> None:
    assert cut("the zone has no more than two", 10, Look(ascii=False)) == "the zone …"


def test_what_fits_is_whole_and_one_cell_is_enough_for_a_mark() -> None:
    look = Look(ascii=False)
    assert cut("spot-1", 6, look) == "spot-1"
    assert cut("spot-12", 1, look) == "…"
