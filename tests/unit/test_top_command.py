"""`fleet top`: what goes together, and what it says where there is nobody to look."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dashboard.printed import Whole
from fleet.cli.top import Shape, Where, command, incident
from fleet.errors import UsageError

ONCE = [sys.executable, "-m", "fleet", "top", "--demo", "--once"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--demo", "--allow-actions"], "nobody can act on a recording"),
        (["--demo", "--record", "x"], "--record is for a fleet that is watched here"),
        (["--demo", "--replay", str(incident())], "leave out --replay"),
        (["--web", "--allow-actions"], "nobody can act in a browser"),
        (["--web=0.0.0.0:8090", "--demo"], "there is no login"),
        (["--web=nonsense", "--demo"], "is no address"),
        (["--web", "--once"], "leave out --once and --json"),
        (["--once", "--record", "x"], "leave out one of them"),
        (["--web-origin", "https://a.example"], "--web-origin is for --web"),
        (["--demo", "--speed", "2"], "--speed is for --replay"),
        (["--demo", "--prices", str(incident())], "--prices is for a fleet"),
        (["--demo"], "there is no terminal"),
    ],
)
def test_what_does_not_go_together_is_said_so(flags: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        CliRunner().invoke(command, flags, catch_exceptions=False)


def test_a_file_that_is_no_recording_is_said_so(tmp_path: Path) -> None:
    file = tmp_path / "notes.jsonl"
    file.write_text("[]\n")
    with pytest.raises(UsageError, match="record it again"):
        CliRunner().invoke(command, ["--replay", str(file), "--once"], catch_exceptions=False)


def test_a_pipe_that_closes_is_no_traceback() -> None:
    process = subprocess.Popen(ONCE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    error = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(60) == 1
    assert not error


def test_a_screen_for_a_browser_can_neither_act_nor_tell_the_brokers_password() -> None:
    where = Where("nats://me:secret@127.0.0.1:4222", None, None, 1.0, demo=False)
    shape = Shape(2.0, "5m", "ansi-dark", ascii_only=True, allow_actions=True)
    flags = [*where.flags(), *shape.flags()]
    assert flags == [
        "--interval", "2s", "--window", "5m", "--theme", "ansi-dark", "--ascii",
    ]  # fmt: skip


def test_the_help_names_what_the_object_holds() -> None:
    [told] = re.findall(r"With --json: (.*?)Exit code", command.help or "", re.DOTALL)
    names = set(re.findall(r"`(\w+)`", told))
    assert names <= set(Whole.__struct_fields__)
    assert len(names) > 10


def test_the_tables_of_the_recording_name_what_is_wrong() -> None:
    shown = CliRunner().invoke(command, ["--demo", "--once"], catch_exceptions=False).output
    for words in ("spot-b-2", "quarterly-report", "nightly-eval"):
        assert words in shown
