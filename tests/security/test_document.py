"""docs/security.md says what is tried, and all of it is."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = re.findall(
    r"^\| (S\d+) \|(.*)\|$", (ROOT / "docs" / "security.md").read_text(), re.MULTILINE
)
CHECK = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_there_are_twenty_four_threats_in_order() -> None:
    assert [name for name, _ in ROWS] == [f"S{number}" for number in range(1, 25)]


@pytest.mark.parametrize(("name", "row"), ROWS, ids=[name for name, _ in ROWS])
def test_a_threat_names_checks_that_exist(name: str, row: str) -> None:
    checks = CHECK.findall(row)
    assert checks, name
    for path, test in checks:
        found = re.search(rf"^(async )?def {test}\(", (ROOT / path).read_text(), re.MULTILINE)
        assert found, f"{name}: {path} has no {test}"


def test_an_audit_that_knows_nothing_is_no_all_clear() -> None:
    recipe = (ROOT / "Justfile").read_text().partition("\naudit:")[2].partition("\n\n")[0]
    # Without it, what the service has not heard of counts as sound.
    assert "pip-audit" in recipe
    assert "--strict" in recipe
