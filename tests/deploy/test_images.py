"""Containerfiles: what a linter says, and what the manifests rely on."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.deploy.cluster import OVERLAYS, ROOT, containers, overlay, parse, pods

IMAGES = sorted((ROOT / "deploy" / "images").glob("*.Containerfile"))
LABELS = {"title", "description", "licenses", "source", "version", "revision"}


def instructions(path: Path) -> list[tuple[str, str]]:
    """Return each instruction with its arguments, comments and line ends taken out."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    return [(word, " ".join(rest.split())) for word, rest in lines]


def last(path: Path) -> dict[str, str]:
    """Return what counts in the image that comes out: of each instruction the last."""
    return dict(instructions(path))


def complaints_of_hadolint(path: Path) -> list[str]:
    """Lint a Containerfile."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "hadolint"), "--no-color", str(path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout.splitlines() + done.stderr.splitlines()


def our_complaints(path: Path) -> Iterator[str]:
    """What a linter does not ask for."""
    final = last(path)
    if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", final.get("USER", "")):
        yield "Kubernetes cannot tell whether its user is root: give numbers"
    if final.get("STOPSIGNAL") != "SIGTERM":
        yield "is not stopped by SIGTERM, at which consumers drain"
    if not final.get("ENTRYPOINT", "").startswith("["):
        yield "a shell would get the signals"
    told = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", final.get("LABEL", "")))
    if told != LABELS:
        yield f"has no label for {sorted(LABELS - told)}"
    for word, rest in instructions(path):
        if word == "FROM" and not re.match(r"docker\.io/\S+:(\$\{\w+\}|[\w.-]+)", rest):
            yield f"{rest}: is another image each day, or from anywhere"
        if word == "ADD":
            yield "ADD may fetch and unpack what nobody looked at"


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_linter_and_we_find_nothing_wrong_with_an_image(path: Path) -> None:
    assert complaints_of_hadolint(path) == []
    assert list(our_complaints(path)) == []


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_what_is_copied_is_there_and_let_through(path: Path) -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    let_through = [line[1:] for line in ignored if line.startswith("!")]
    assert ignored[1] == "*"
    for word, rest in instructions(path):
        if word != "COPY" or "--from=" in rest:
            continue
        *sources, _ = [part for part in rest.split() if not part.startswith("--")]
        for source in sources:
            assert (ROOT / source).exists(), source
            assert any(fnmatch(source, one) for one in let_through), source


@pytest.mark.parametrize("name", OVERLAYS)
def test_pods_run_as_the_user_of_the_image_and_mount_what_it_writes_to(name: str) -> None:
    for _, _, template in pods(parse(overlay(name))):
        for one in containers(template):
            image = one["image"].rpartition("/")[2].partition(":")[0].removeprefix("overbook-")
            path = ROOT / "deploy" / "images" / f"{image}.Containerfile"
            if not path.exists():
                continue
            user = f"{template['spec']['securityContext']['runAsUser']}:"
            assert last(path)["USER"].startswith(user)
            writable = {
                each["mountPath"] for each in one["volumeMounts"] if not each.get("readOnly")
            }
            for place in re.findall(r"=(/(?:tmp|cache))\b", last(path)["ENV"]):
                assert place in writable, (image, place)


def test_a_consumer_is_the_process_that_gets_the_signal() -> None:
    entry = json.loads(last(ROOT / "deploy/images/consumer.Containerfile")["ENTRYPOINT"])
    assert entry == ["place", "fleet", "consumer"]
    assert 'exec "$@"' in (ROOT / "deploy/ec2/place").read_text()


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("USER 65532:65532", "USER root", "DL3002"),
        ("USER 65532:65532", "USER nobody", "give numbers"),
        ("STOPSIGNAL SIGTERM\n", "STOPSIGNAL SIGINT\n", "is not stopped by SIGTERM"),
        ('ENTRYPOINT ["fleet"]', "ENTRYPOINT fleet", "a shell would get the signals"),
        ("python:${PYTHON}\n", "python:latest\n", "DL3007"),
        ("docker.io/library/python:${PYTHON}\n", "python\n", "another image each day"),
        ("WORKDIR /src", "WORKDIR src", "DL3000"),
        ("COPY pyproject.toml", "ADD pyproject.toml", "ADD may fetch"),
        ('      org.opencontainers.image.licenses="Apache-2.0" \\\n', "", "licenses"),
    ],
)
def test_a_planted_error_is_found(right: str, wrong: str, complaint: str, tmp_path: Path) -> None:
    text = (ROOT / "deploy" / "images" / "control.Containerfile").read_text()
    assert right in text
    path = tmp_path / "Containerfile"
    path.write_text(text.replace(right, wrong))
    found = [*complaints_of_hadolint(path), *our_complaints(path)]
    assert any(complaint in one for one in found), found
