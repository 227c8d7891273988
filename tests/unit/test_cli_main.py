"""What the shell sees: exit codes, one line on stderr, no traceback for errors of ours."""

import subprocess
import sys
from importlib.util import find_spec

import click
import pytest

from fleet.cli import main as frame
from fleet.cli.options import run
from fleet.errors import (
    BrokerRefused,
    BrokerUnreachable,
    FleetError,
    JobFailed,
    JobRejected,
    NotFound,
    UsageError,
)


def fleet(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from fleet.cli.main import main; main()", *args],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    """Run a command that raises `error`; return the exit code."""

    @click.command
    def command() -> None:
        raise error

    monkeypatch.setattr(frame.cli, "get_command", lambda *_: command)
    with pytest.raises(SystemExit) as caught:
        frame.main(["boom"])
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize("name", frame.COMMANDS)
def test_every_command_in_the_table_has_a_module(name: str) -> None:
    assert find_spec(frame.COMMANDS[name].module)


def test_help_shows_every_command_and_every_exit_code() -> None:
    shown = fleet("--help")
    assert shown.returncode == 0
    for name, lazy in frame.COMMANDS.items():
        assert f"  {name} " in shown.stdout
        assert lazy.help.split(maxsplit=1)[0] in shown.stdout
    for code in (0, 1, 2, 3, 4, 5, 6, 130):
        assert f" {code} " in " ".join(shown.stdout.split())


@pytest.mark.parametrize("name", frame.COMMANDS)
def test_help_cuts_no_sentence_and_says_what_each_option_is_for(name: str) -> None:
    command = frame.cli.get_command(click.Context(frame.cli), name)
    assert command is not None
    for each in (command, *getattr(command, "commands", {}).values()):
        page = each.get_help(click.Context(each, info_name=each.name, terminal_width=80))
        _, *below = page.partition("Options:")
        assert "..." not in "".join(below), page
        silent = [p.name for p in each.params if isinstance(p, click.Option) and not p.help]
        assert not silent, f"{each.name}: {silent}"


def test_the_version_is_told() -> None:
    shown = fleet("--version")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("fleet, version ")


def test_an_unknown_command_is_wrong_usage() -> None:
    shown = fleet("fly")
    assert shown.returncode == 2
    assert "fly" in shown.stderr
    assert shown.stdout == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("text"), 2),
        (JobRejected("text"), 2),
        (NotFound("text"), 4),
        (BrokerUnreachable("text"), 5),
        (BrokerRefused("text"), 6),
        (JobFailed("text"), 1),
        (FleetError("text"), 1),
        (ExceptionGroup("tasks", [ExceptionGroup("inner", [NotFound("text")])]), 4),
    ],
)
def test_an_error_of_ours_is_one_line_and_its_own_exit_code(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(monkeypatch, error) == code
    assert capsys.readouterr() == ("", "fleet: text\n")


def test_one_cause_that_ended_several_tasks_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    group = ExceptionGroup("tasks", [BrokerUnreachable("gone"), BrokerUnreachable("gone")])
    assert failing(monkeypatch, group) == 5
    assert capsys.readouterr().err == "fleet: gone\n"


@pytest.mark.parametrize(
    "bug", [KeyError("bug"), ExceptionGroup("tasks", [NotFound("text"), KeyError("bug")])]
)
def test_a_bug_keeps_its_traceback(bug: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(type(bug)):
        failing(monkeypatch, bug)


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failing(monkeypatch, KeyboardInterrupt()) == 130


def test_a_command_chooses_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failing(monkeypatch, click.exceptions.Exit(3)) == 3


def test_a_reader_that_leaves_ends_the_command_without_a_word() -> None:
    script = (
        "import click\nfrom fleet.cli import main as frame\n"
        "@click.command\ndef flood():\n    while True: click.echo('x' * 1000)\n"
        "frame.cli.get_command = lambda *_: flood\nframe.main(['flood'])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(10) == 1


def test_a_coroutine_runs_to_its_result() -> None:
    async def answer() -> int:
        return 42

    assert run(answer()) == 42


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_one_that_nobody_reads(closed: str) -> None:
    script = (
        "import asyncio, click\nfrom fleet.cli import main as frame\n"
        "from fleet.cli.options import run\nfrom fleet.cli.terminal import write\n"
        "@click.command\ndef speak():\n"
        "    run(asyncio.sleep(0)); click.echo('out'); write('text'); click.echo('err', err=True)\n"
        "frame.cli.get_command = lambda *_: speak\nframe.main(['speak'])\n"
    )
    shell = f'{sys.executable} -c "$0" {closed}'
    ran = subprocess.run(["sh", "-c", shell, script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr in {"", "err\n"}


def test_a_full_disk_is_told_in_a_line() -> None:
    shell = f"{sys.executable} -c 'from fleet.cli.main import main; main([\"--help\"])' > /dev/full"
    ran = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr == ("fleet: not all could be written: No space left on device: make room\n")
