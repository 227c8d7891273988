"""Setup: what it installs, what it makes of pip's words, and models that are never half there."""

import hashlib
import io
import shutil
import sys
import zipfile
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from consumers.setup import engine, models
from consumers.setup.command import command
from consumers.setup.engine import pins
from consumers.setup.models import STAMP, Model, Wheel, cache_dir, ensure_model, unpack
from consumers.setup.pip import explain, progress
from consumers.setup.report import Report
from consumers.setup.smollm2 import write_tiny
from fleet.errors import UsageError


def test_every_package_is_pinned_and_none_of_our_own_dependencies_among_them() -> None:
    listed = pins("x86_64")
    assert all(pin.name and pin.version for pin in listed)
    names = [pin.name.lower() for pin in listed]
    assert len(names) == len(set(names))
    assert not set(names) & {"click", "msgspec", "nats-py", "rich", "triton", "torchvision"}


def test_wheels_for_intel_are_asked_for_on_intel_only() -> None:
    only = {pin.name for pin in pins("x86_64")} - {pin.name for pin in pins("aarch64")}
    assert only == {"intel-openmp", "intel-cmplr-lib-ur"}


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("ERROR: Could not install: [Errno 28] No space left on device\n", "disk is full"),
        ("ERROR: No matching distribution found for torch==2\n", "Python 3.11 to 3.13"),
        ("NewConnectionError\nERROR: No matching distribution found for x\n", "check the network"),
        ("error: externally-managed-environment\n", "virtual environment"),
        ("", "pip said nothing"),
    ],
)  # fmt: skip
def test_a_failure_of_pip_becomes_a_cause_with_a_remedy(said: str, remedy: str) -> None:
    assert remedy in explain(said.splitlines(keepends=True))


def test_of_pips_lines_only_news_is_shown() -> None:
    assert progress("Collecting torch==2.13.0+cpu\n") == "torch"
    assert (
        progress("  Downloading torch-2.13.0.whl (190 MB)\n")
        == "downloading torch-2.13.0.whl (190 MB)"
    )
    assert progress("Requirement already satisfied: x\n") is None


def test_without_a_terminal_each_step_is_two_plain_lines() -> None:
    out = io.StringIO()
    with Report(out).step("torch [cpu]", total=1) as step:
        step.note("busy")
        step.advance()
    first, last = out.getvalue().splitlines()
    assert first == "torch [cpu] ..."
    assert last.startswith("torch [cpu]: ")


def test_the_cache_is_where_the_environment_says() -> None:
    assert cache_dir({"FLEET_CACHE": "/a"}) == Path("/a")
    assert cache_dir({"XDG_CACHE_HOME": "/b"}) == Path("/b/overbook")
    assert cache_dir({}) == Path.home() / ".cache" / "overbook"


def test_a_directory_with_a_model_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert ensure_model(str(tmp_path), tmp_path / "cache") == tmp_path
    with pytest.raises(UsageError, match="smollm2"):
        ensure_model("nonesuch", tmp_path)


def test_a_model_that_nobody_knows_is_refused_before_anything_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "ensure_engine", lambda *_: pytest.fail("it installs"))
    ran = CliRunner().invoke(command, ["--model", "nonesuch"])
    assert isinstance(ran.exception, UsageError)
    assert "nonesuch" in str(ran.exception)


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Serve a small wheel instead of pip, and list what was asked for."""
    wheel = tmp_path / "toy.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("toy/model/config.json", "{}")
        archive.writestr("toy/code.py", "")
    asked: list[str] = []

    def download(requirement: str, folder: Path) -> Path:
        asked.append(requirement)
        return Path(shutil.copy(wheel, folder))

    monkeypatch.setattr(models, "_download", download)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    known = {
        "toy": Model("toy", Wheel("toy==1", digest, "toy/model/"), unpack),
        "forged": Model("forged", Wheel("toy==1", "0" * 64, "toy/model/"), unpack),
    }
    monkeypatch.setattr(models, "MODELS", known)
    return asked


def test_a_model_is_made_once(tmp_path: Path, downloads: list[str]) -> None:
    first = ensure_model("toy", tmp_path)
    assert ensure_model("toy", tmp_path) == first
    assert downloads == ["toy==1"]
    assert sorted(p.name for p in first.iterdir()) == ["config.json", STAMP]


@pytest.mark.parametrize("damage", ["torn file", "no stamp", "stamp of another format"])
def test_a_damaged_model_is_made_again(tmp_path: Path, downloads: list[str], damage: str) -> None:
    folder = ensure_model("toy", tmp_path)
    stamp = msgspec.json.decode((folder / STAMP).read_bytes())
    match damage:
        case "torn file":
            (folder / "config.json").write_text("")
        case "no stamp":
            (folder / STAMP).unlink()
        case _:
            (folder / STAMP).write_bytes(msgspec.json.encode({**stamp, "format": 0}))
    assert (ensure_model("toy", tmp_path) / "config.json").read_text() == "{}"
    assert len(downloads) == 2
    assert [p.name for p in folder.parent.iterdir()] == ["toy"]


def test_a_wheel_that_is_not_the_one_we_know_is_not_used(
    tmp_path: Path, downloads: list[str]
) -> None:
    with pytest.raises(UsageError, match="sha256"):
        ensure_model("forged", tmp_path)
    assert not (tmp_path / "models" / "forged").exists()


def test_without_the_engines_packages_no_model_is_made_and_it_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(UsageError, match="`fleet setup`"):
        write_tiny(tmp_path / "model.gguf", tmp_path)
