"""Text of an answer as tokens come, and stop strings across any seam."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from consumers.text import AnswerText


def decode(ids: Sequence[int]) -> str:
    """One token is one byte of UTF-8, so characters straddle tokens."""
    return bytes(ids).decode(errors="replace")


def run(text: str, *, stops: tuple[str, ...] = (), cut: int = 0, min_tokens: int = 0) -> AnswerText:
    """Push all bytes of a text in two parts, as a resumed answer does."""
    ids = list(text.encode())
    answer = AnswerText(decode, stops=stops, min_tokens=min_tokens)
    answer.push(ids[:cut])
    answer.push(ids[cut:])
    answer.finish()
    return answer


@given(st.text(), st.integers(0, 200))
def test_the_pieces_join_to_what_decoding_everything_gives(text: str, cut: int) -> None:
    assert run(text, cut=cut).text == text


@given(st.text(alphabet="abc", max_size=40), st.text(alphabet="abc", min_size=1, max_size=4),
       st.integers(0, 40))  # fmt: skip
def test_a_stop_string_ends_the_text_wherever_it_was_cut(text: str, stop: str, cut: int) -> None:
    answer = run(text, stops=(stop,), cut=cut)
    assert answer.text == text.split(stop, maxsplit=1)[0]
    assert answer.stopped == (stop in text)


@given(st.text(max_size=30), st.text(min_size=1, max_size=3))
def test_what_a_reader_was_shown_is_never_taken_back(text: str, stop: str) -> None:
    answer = AnswerText(decode, stops=(stop,))
    shown = ""
    for byte in text.encode():
        answer.push([byte])
        shown += answer.take()
        assert stop not in shown
    answer.finish()
    assert shown + answer.take(final=True) == answer.text


def test_tokens_behind_a_stop_string_do_not_count() -> None:
    answer = AnswerText(decode, stops=("END",))
    assert answer.push(list(b"oneENDtwo")) == len(b"oneEND")


def test_a_stop_string_before_min_tokens_is_text() -> None:
    answer = run("aXbXc", stops=("X",), min_tokens=3)
    assert answer.text == "aXb"


def test_an_incomplete_character_is_held_back_until_it_is_whole() -> None:
    answer = AnswerText(decode)
    first, *rest = "é".encode()
    answer.push([first])
    assert answer.take() == ""
    answer.push(rest)
    assert answer.take() == "é"
