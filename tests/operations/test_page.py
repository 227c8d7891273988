"""docs/operations.md keeps to its word: each block was tried, each command exists."""

import re

import click
import pytest
import yaml

from fleet.cli.main import cli as root
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


def test_links_inside_the_page_lead_somewhere() -> None:
    anchors = {re.sub(r"[^\w\- ]", "", one).lower().replace(" ", "-") for one in headings(TEXT)}
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors
    for file in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (PAGE.parent / file).exists(), file


def commands() -> list[str]:
    """Find every command of ours in blocks and in running text."""
    running = re.findall(r"`(fleet [^`]+)`", FENCED.sub("", TEXT))
    code = re.sub(r"(^|\s)#.*", "", "".join(step.code for step in STEPS), flags=re.MULTILINE)
    lines = code.replace("\\\n", " ").splitlines()
    blocks = [
        found[1] for line in lines for found in re.finditer(r"\b(fleet [a-z][^|)#;&]*)", line)
    ]
    return sorted({one.strip() for one in (*running, *blocks)})


@pytest.mark.parametrize("text", commands())
def test_a_command_and_its_options_exist(text: str) -> None:
    # Quotes may go on behind the end of what was cut out; options have none.
    words = text.replace(chr(34), "").split()[1:]
    context = click.Context(root)
    command: click.Command = root
    while isinstance(command, click.Group) and words:
        found = command.get_command(context, words[0])
        assert found is not None, f"{text}: there is no {words[0]}"
        command, words = found, words[1:]
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    used = {word.partition("=")[0] for word in words if word.startswith("--") and word != "--"}
    assert used <= known | {"--help"}, text


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
