"""Foreign text becomes one harmless line."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from dashboard.look import Look
from dashboard.safe import MOST_CHARACTERS, plain, safe

HOSTILE = (
    "[/red]",
    "[@click=app.quit]x[/]",
    "\x1b]52;c;aGk=\x07",
    "\x9b31m",
    "\u202egnp.exe",
    "a\r\nb\tc\x00",
    "\u2028\u2029\u200b\ufeff",
    "\ud800",
    "e" + "\u0301" * 500,
    "x" * 10_000,
)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_loses_what_a_terminal_obeys(text: str) -> None:
    shown = safe(text)
    assert len(shown) <= MOST_CHARACTERS
    assert not [c for c in shown if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]
    assert shown.encode()


@given(st.text(st.characters(), max_size=600))
def test_any_text_becomes_one_line_that_can_be_written(text: str) -> None:
    shown = safe(text)
    assert len(shown) <= MOST_CHARACTERS
    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(c)[0] == "C" for c in shown)
    assert shown.encode().decode() == shown
    assert plain(shown).isascii()
    assert plain(shown).isprintable()


def test_text_in_any_script_stays_as_it_is() -> None:
    for text in ("smollm2", "größe", "naïve", "日本語", "हिन्दी", "a [b] c"):
        assert safe(unicodedata.normalize("NFC", text)) == unicodedata.normalize("NFC", text)


def test_markup_is_not_touched_for_nobody_parses_it() -> None:
    assert safe("[/red]") == "[/red]"


def test_a_text_that_is_too_long_ends_in_an_ellipsis() -> None:
    assert safe("x" * 300) == "x" * 255 + "…"
    assert safe("x" * 300, most=10) == "x" * 9 + "…"


def test_marks_do_not_pile_up_on_a_letter() -> None:
    assert cell_len(safe("e" + "\u0316" * 50)) == 1
    assert len(safe("e" + "\u0316" * 50)) == 3


def test_in_ascii_nothing_else_reaches_the_terminal() -> None:
    look = Look(ascii=True)
    assert look.text("größe\u202e") == "gro?e?"
    assert look.spark([1.0, None, 2.0], 4).isascii()
    assert look.bar(0.5, 4) == "##.."
