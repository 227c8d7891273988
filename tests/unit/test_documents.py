"""What documents name exists: links, commands with their options, recipes, settings and tests."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from fleet.cli.main import cli as root
from fleet.settings import ELSEWHERE, PREFIX, Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md")])
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
# Between these a shell begins another command.
BREAKS = set("();<>|&")
# The last is pytest's.
VARIABLES = (
    {f"{PREFIX}{name.upper()}" for name in Settings.__struct_fields__} | ELSEWHERE | {"FLEET_SEED"}
)
FILES = {
    path.name
    for top in ("fleet", "consumers", "dashboard", "tests", "docs")
    for path in (ROOT / top).rglob("*.py")
}
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def running(text: str) -> str:
    """Return a page without its blocks of code."""
    return FENCED.sub("", text)


def shell(text: str) -> str:
    """Return its blocks of shell, a command a line."""
    blocks = "".join(code for kind, code in FENCED.findall(text) if kind == "sh")
    return blocks.replace("\\\n", " ")


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", running(page.read_text())):
        if link.startswith(("https:", "http:")):
            continue
        file, _, anchor = link.partition("#")
        there = page.parent / file if file else page
        assert there.exists(), link
        assert not anchor or anchor in anchors(there.read_text()), link


def anchors(text: str) -> set[str]:
    """Return the names under which the headings of a page are linked to."""
    return {
        re.sub(r"[^\w\- ]", "", one).lower().replace(" ", "-")
        for one in HEADING.findall(running(text))
    }


@every_page
def test_every_command_is_one_that_we_have(page: Path) -> None:
    text = page.read_text()
    for words in commands_in(shell(text)):
        command, rest = found(words)
        if isinstance(command, click.Group):
            assert rest in ([], ["--help"]), words
        else:
            # Reads every option and argument, and acts on none.
            command.make_context(command.name, [filled(word) for word in rest])
    for mentioned in re.findall(r"`fleet ([a-z][^`]*)`", running(text)):
        command, rest = found(mentioned.split())
        known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
        used = {word.partition("=")[0] for word in rest if word.startswith("-") and len(word) > 2}
        assert used <= known | {"--help"}, mentioned


def commands_in(code: str) -> Iterator[list[str]]:
    """Yield the words behind each `fleet` of a piece of shell."""
    for line in code.splitlines():
        # The number of what is redirected is no word.
        bare = re.sub(r"(?<=\s)\d(?=[<>])", "", line)
        words = shlex.shlex(bare, posix=True, punctuation_chars=True)
        words.commenters, words.whitespace_split = "#", True
        part: list[str] = []
        for word in (*words, ";"):
            if not set(word) <= BREAKS:
                part.append(word)
                continue
            if "fleet" in part:
                yield part[part.index("fleet") + 1 :]
            part = []


def found(words: list[str]) -> tuple[click.Command, list[str]]:
    """Follow names to a command. What is written large stands for any of its group."""
    command: click.Command = root
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, rest = words[0].partition("|")[0], words[1:]
        inner = command.get_command(click.Context(command), name)
        if inner is None and name.isupper():
            break
        assert inner is not None, f"{' '.join(words)}: there is no {name}"
        command, words = inner, rest
    return command, words


def filled(word: str) -> str:
    """Put a file that exists in the place of one that is only named."""
    return str(ROOT / "docs/examples/prompts.jsonl") if word.endswith(".jsonl") else word


@every_page
def test_every_recipe_setting_and_test_is_there(page: Path) -> None:
    text = page.read_text()
    recipes = set(
        re.findall(r"^([\w-]+)[^:=\n]*:(?!=)", (ROOT / "Justfile").read_text(), re.MULTILINE)
    )
    assert {*re.findall(r"`just ([\w-]+)", text)} <= recipes
    for name in re.findall(r"`just bench (\w+)", text):
        assert (ROOT / "tests/bench" / f"{name}.py").exists(), name
    assert {*re.findall(r"\bFLEET_[A-Z0-9_]+\b", text)} <= VARIABLES
    for file in re.findall(r"`(?:[\w/]+/)?(\w+\.py)`", text):
        assert file in FILES, file
    for path, name in re.findall(r"\b(tests/[\w/]+(?:\.py)?)(?:::(\w+))?", text):
        assert (ROOT / path).exists(), path
        assert not name or f"def {name}(" in (ROOT / path).read_text(), f"{path}::{name}"


def test_shell_is_read_as_a_shell_does() -> None:
    code = """until as me fleet a "b; c" --d 2 2>log; do sleep 1; done # fleet x
env $(cat f) fleet y &
"""
    assert list(commands_in(code)) == [["a", "b; c", "--d", "2"], ["y"]]
