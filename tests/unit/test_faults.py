"""Faults that tests ask for, and nobody else."""

import pytest

from fleet.errors import BrokerUnreachable, UsageError
from fleet.faults import NONE, POINTS, VARIABLE, Fault, Faults, parse


def test_without_the_variable_no_point_does_anything() -> None:
    for point in POINTS:
        NONE.at(point)  # type: ignore[arg-type]


def test_the_variable_names_points_actions_and_the_turn() -> None:
    assert parse("append.after=kill@3,ack.before=block:2.5") == {
        "append.after": Fault(action="kill", nth=3),
        "ack.before": Fault(action="block", nth=1, seconds=2.5),
    }


@pytest.mark.parametrize("text", ["nowhere=kill", "ack.before=explode", "ack.before=kill@soon"])
def test_a_wrong_fault_is_an_error_at_the_start(text: str) -> None:
    with pytest.raises(UsageError, match=VARIABLE):
        parse(text)


def test_a_fault_strikes_in_its_turn_alone() -> None:
    faults = Faults({VARIABLE: "append.before=fail@2"})
    faults.at("append.before")
    with pytest.raises(BrokerUnreachable, match=r"append\.before"):
        faults.at("append.before")
    faults.at("append.before")
