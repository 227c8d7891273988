"""Shell scripts of deploy/: shellcheck finds nothing, and finds what is planted."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.cluster import ROOT

SCRIPTS = sorted(
    path
    for path in (ROOT / "deploy").rglob("*")
    if path.is_file() and path.read_bytes().startswith((b"#!/usr/bin/env bash", b"#!/bin/sh"))
)


def complaints(*paths: Path) -> list[str]:
    """Return a line for each thing that shellcheck does not like."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "shellcheck"), "--format=gcc", *map(str, paths)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout.splitlines() + done.stderr.splitlines()


def test_shellcheck_finds_nothing_in_any_script() -> None:
    assert {"place", "install.sh", "user-data.sh"} <= {path.name for path in SCRIPTS}
    assert complaints(*SCRIPTS) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_can_be_run_and_stops_at_its_first_error(path: Path) -> None:
    assert path.stat().st_mode & 0o111, "it cannot be executed"
    assert any(
        line.startswith("set -") and "e" in line.split()[1]
        for line in path.read_text().splitlines()
    )


def test_an_error_that_is_planted_is_found(tmp_path: Path) -> None:
    path = tmp_path / "place"
    text = (ROOT / "deploy" / "ec2" / "place").read_text()
    path.write_text(text.replace('exec "$@"', "exec $*").replace('<<<"$lines"', "<<<$line"))
    found = complaints(path)
    assert any("SC2048" in one or "SC2086" in one for one in found), found
    assert any("SC2154" in one for one in found), found
