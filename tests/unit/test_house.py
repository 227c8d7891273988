"""What no tool checks: sizes and the shape of the tree."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("fleet", "consumers", "dashboard")
MOST_LINES = 300
SOURCES = sorted(
    path.relative_to(ROOT) for top in (*PACKAGES, "tests") for path in (ROOT / top).rglob("*.py")
)
VAGUE = {"common", "helpers", "misc", "util", "utils"}


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_a_file_fits_in_one_sitting(path: Path) -> None:
    lines = len((ROOT / path).read_text().splitlines())
    assert lines <= MOST_LINES, f"{path} has {lines} lines: split it by role"


def test_files_are_named_by_role() -> None:
    assert not [path for path in SOURCES if path.stem in VAGUE]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_file_holds_a_docstring_and_nothing_else(package: str) -> None:
    for path in (ROOT / package).rglob("__init__.py"):
        module = ast.parse(path.read_text())
        assert ast.get_docstring(module), path
        assert len(module.body) == 1, path


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_with_modules_is_a_package(package: str) -> None:
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    assert not [folder for folder in folders if not (folder / "__init__.py").exists()]


def test_structs_see_their_types_at_run_time() -> None:
    late = "from __future__ import annotations"
    assert not [path for path in SOURCES if late in (ROOT / path).read_text().splitlines()]
