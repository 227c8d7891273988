"""The filter: a regular expression, or what shall not be seen."""

import pytest

from dashboard.seeking import Filter, read
from fleet.errors import UsageError


def test_an_empty_filter_lets_all_through() -> None:
    assert read("  ") == Filter()
    assert read("!").lets("anything")


def test_case_matters_only_where_a_capital_is_typed() -> None:
    assert read("spot").lets("SPOT-a-1")
    assert not read("Spot").lets("spot-a-1")


def test_an_exclamation_mark_turns_it_round() -> None:
    assert read("!spot").lets("on-demand-1")
    assert not read("! spot").lets("spot-a-1")


def test_a_filter_may_be_any_regular_expression() -> None:
    assert read(r"^(a|b)\d$").lets("b7")
    assert not read(r"^(a|b)\d$").lets("c7")


@pytest.mark.parametrize("typed", ["(", "*", "x" * 201])
def test_what_is_no_expression_is_said_so(typed: str) -> None:
    with pytest.raises(UsageError):
        read(typed)
