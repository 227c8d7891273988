"""A producer in JavaScript needs nothing of ours."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.asking import MODEL, answer_to
from tests.fleets import running_fleet
from tests.tools import missing, requires_tool

VERSION = "3.4.0"
PACKAGES = (f"@nats-io/transport-node@{VERSION}", f"@nats-io/jetstream@{VERSION}")
INSTALL_S = 100
RUN_S = 30
SCRIPT = Path(__file__).with_name("js_producer.mjs")


@pytest.fixture(scope="module")
def node_folder() -> Path:
    """A folder with the client installed, kept from run to run."""
    npm = requires_tool("npm")
    requires_tool("node")
    folder = Path(tempfile.gettempdir(), f"overbook-tests-nats-js-{VERSION}-{os.getuid()}")
    if not (folder / "node_modules" / "@nats-io" / "jetstream").exists():
        folder.mkdir(exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), *PACKAGES]
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_S, check=False
        )
        if ran.returncode != 0:
            missing(f"npm cannot install {', '.join(PACKAGES)}: {ran.stderr[-300:]}")
    return folder


@pytest.mark.node
def test_a_javascript_client_publishes_a_job_and_reads_its_result(
    node_folder: Path, tmp_path: Path, unique: str
) -> None:
    # Modules are looked for beside the script.
    script = Path(shutil.copy(SCRIPT, node_folder))
    with running_fleet(tmp_path, "--spot", "1", "--on-demand", "0") as fleet:
        ran = subprocess.run(
            [requires_tool("node"), str(script), fleet.nats, MODEL, unique, "js-1", "one", "two"],
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    lines = sorted(said["lines"], key=lambda line: line["custom_id"])
    texts = [line["response"]["body"]["choices"][0]["message"]["content"] for line in lines]
    assert texts == [answer_to("one"), answer_to("two")]
    assert said["stream"] == "JOBS_BATCH"
    assert said["stored"] > 0
