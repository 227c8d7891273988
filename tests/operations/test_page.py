"""docs/operations.md keeps to its word: each block was tried, each alert has a runbook."""

import re

import yaml

from tests.fleets import ROOT
from tests.operations.procedures import PAGE, headings, steps

TEXT = PAGE.read_text()
STEPS = steps(TEXT)
FENCED = re.compile(r"```.*?```", re.DOTALL)


def test_every_block_says_how_it_was_tried() -> None:
    for step in STEPS:
        kind, _, rest = step.mark.partition(" in ")
        assert kind.partition(",")[0] == "tried" or step.mark.startswith("on your machines: "), step
        for file in rest.split():
            assert (ROOT / file).is_file(), f"{step.section}: there is no {file}"


def test_every_block_of_shell_is_read() -> None:
    assert len(STEPS) == TEXT.count("```sh\n")
    assert TEXT.count("```") == 2 * len(FENCED.findall(TEXT))


def test_each_alert_has_its_runbook_and_no_runbook_is_without_an_alert() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yaml").read_text())
    alerts = [
        rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule
    ]
    books = [one for one in headings(TEXT) if one.startswith("Fleet")]
    assert sorted(books) == sorted(alerts)
    for alert in alerts:
        book = TEXT.partition(f"\n### {alert}\n")[2].partition("\n### ")[0]
        assert "**Means.**" in book, alert
        assert "**Do.**" in book, alert
