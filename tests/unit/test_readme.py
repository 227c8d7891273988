"""The commands that a newcomer copies are the ones that CI runs."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text()
LINE = "python3 -m venv .venv && .venv/bin/pip install -q rust-just && .venv/bin/just {}"


@pytest.mark.parametrize("recipe", ["demo", "check"])
def test_one_line_does_it_all(recipe: str) -> None:
    block = re.search(rf"<!-- {recipe} -->\n+```\w*\n(.*?)\n```", README, re.DOTALL)
    assert block, f"README.md marks its {recipe} command with <!-- {recipe} -->"
    assert block[1] == LINE.format(recipe)
