"""What docs/check.md promises is what there is."""

import re
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from dashboard.findings import NAMES, Limits, findings
from dashboard.saying import NUMBERS
from dashboard.snapshot import FleetSnapshot
from fleet.cli import top_data
from fleet.cli.check import DEFAULTS, EXIT_CODES, command
from fleet.cli.main import cli
from fleet.errors import ConnectionLost
from fleet.exits import run_command
from tests.made_up import snapshot

TEXT = (Path(__file__).parents[2] / "docs/check.md").read_text()


def test_every_finding_has_its_line_and_no_other_has() -> None:
    told = re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)
    assert told == [one.name for one in findings(snapshot())] == list(NAMES)


def test_every_limit_stands_there_with_its_default() -> None:
    for name, value in msgspec.to_builtins(Limits()).items():
        assert f"`{name}`, {value:,.0f}" in TEXT


def test_the_help_names_the_same_limits_and_codes() -> None:
    assert msgspec.to_builtins(Limits()) == DEFAULTS
    assert EXIT_CODES == NUMBERS


@pytest.mark.parametrize("number", ["nan", "-1", "soon"])
def test_a_limit_that_is_never_reached_is_a_slip_of_the_pen(number: str) -> None:
    flags = ["--set", f"oldest_warning_s={number}"]
    ran = CliRunner().invoke(command, flags, standalone_mode=False)
    assert ran.return_value == EXIT_CODES["unknown"]
    assert "limits: " in ran.output


@pytest.mark.parametrize("flags", [["--format", "x"], ["--nope"], ["--prices", "/nowhere"]])
def test_an_option_that_is_wrong_is_unknown_to_monitoring(flags: list[str]) -> None:
    assert run_command(cli, ["check", *flags], name="fleet") == EXIT_CODES["unknown"]


def test_a_connection_that_is_closed_for_good_is_unknown_and_no_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def whole(*_: object) -> FleetSnapshot:
        raise ExceptionGroup("of those who read", [ConnectionLost("closed for good")])

    monkeypatch.setattr(top_data, "whole", whole)
    flags = ["--nats", "nats://127.0.0.1:1", "--format", "nagios"]
    assert run_command(cli, ["check", *flags], name="fleet") == EXIT_CODES["unknown"]
    assert capsys.readouterr().out.startswith("OVERBOOK UNKNOWN - closed for good")


def test_the_exit_codes_are_those_of_monitoring() -> None:
    for level, number in NUMBERS.items():
        assert f"| {number} | {level} |" in TEXT
