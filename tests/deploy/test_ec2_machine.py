"""A machine of EC2's: what it knows of itself, and what it does first."""

import json
import os
import re
import shutil
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fleet.settings import Settings
from fleet.subjects import token
from tests.deploy.cluster import ROOT

EC2 = ROOT / "deploy" / "ec2"
FACTS = {
    "placement/availability-zone": "us-east-2b",
    "instance-type": "g6e.xlarge",
    "instance-life-cycle": "spot",
    "instance-id": "i-0123456789abcdef0",
}


@contextmanager
def metadata(facts: dict[str, str]) -> Iterator[str]:
    """Answer as AWS's metadata service does; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
            self._say(200 if ttl else 400, "a-token")

        def do_GET(self) -> None:
            if self.headers.get("X-aws-ec2-metadata-token") != "a-token":
                return self._say(401, "")
            fact = facts.get(self.path.removeprefix("/latest/meta-data/"))
            return self._say(404 if fact is None else 200, fact or "")

        def _say(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            serving.join()


def place(*command: str, **env: str) -> dict[str, str]:
    """Run it, and return the lines that it or the command wrote."""
    done = subprocess.run(
        [str(EC2 / "place"), *command],
        env={"PATH": os.environ["PATH"], **env}, capture_output=True, text=True, timeout=30,
        check=True,
    )  # fmt: skip
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def test_a_machine_learns_what_it_is_and_its_consumer_takes_that() -> None:
    with metadata(FACTS) as url:
        told = place(AWS_EC2_METADATA_SERVICE_ENDPOINT=url)
    assert told["CAPACITY_TYPE"] == "spot"
    assert re.fullmatch(r"i-0123456789abcdef0-\d{10}", told["FLEET_NODE"])
    settings = Settings.from_env(told)
    assert (settings.zone, settings.instance_type) == ("us-east-2b", "g6e.xlarge")
    assert settings.launched_at
    assert token(settings.node or "", what="node")


@pytest.mark.parametrize("life", ["on-demand", "scheduled", "capacity-block", None])
def test_all_but_spot_is_there_to_stay(life: str | None) -> None:
    facts = FACTS | ({"instance-life-cycle": life} if life else {})
    if life is None:
        del facts["instance-life-cycle"]
    with metadata(facts) as url:
        assert place(AWS_EC2_METADATA_SERVICE_ENDPOINT=url)["CAPACITY_TYPE"] == "on-demand"


def test_an_answer_that_is_no_name_becomes_no_line_of_an_environment() -> None:
    hostile = FACTS | {
        "placement/availability-zone": "a\nLD_PRELOAD=/evil.so",
        "instance-id": "i;x",
    }
    with metadata(hostile) as url:
        told = place(AWS_EC2_METADATA_SERVICE_ENDPOINT=url)
    assert set(told) == {"FLEET_INSTANCE_TYPE", "CAPACITY_TYPE"}


def test_a_command_gets_the_facts_but_for_what_is_set_already() -> None:
    with metadata(FACTS) as url:
        seen = place("env", AWS_EC2_METADATA_SERVICE_ENDPOINT=url, FLEET_ZONE="mine")
    assert seen["FLEET_ZONE"] == "mine"
    assert seen["FLEET_INSTANCE_TYPE"] == "g6e.xlarge"


@pytest.mark.parametrize(
    "env",
    [
        {"AWS_EC2_METADATA_DISABLED": "true"},
        {"FLEET_CLOUD": "gcp"},
        {"FLEET_CLOUD": "none"},
        {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9"},
    ],
)
def test_elsewhere_nothing_is_known_and_the_command_runs_all_the_same(env: dict[str, str]) -> None:
    assert place(**env) == {}
    assert place("echo", "ran=yes", **env) == {"ran": "yes"}


class Machine:
    """A new instance: its disk is a folder, and what talks to AWS or systemd only takes notes."""

    def __init__(self, folder: Path, secret: str) -> None:
        self.root = folder / "root"
        self.notes = folder / "notes"
        self._bin = folder / "bin"
        self._bin.mkdir()
        self._program(
            "aws",
            f"""
            case "$1" in
                secretsmanager) cat <<'SECRET'\n{secret}\nSECRET\n;;
                s3) echo '{{}}' > "${{!#}}/config.json" ;;
            esac""",
        )
        # There is no such user here, and one need not be root.
        self._program(
            "install",
            f"""
            args=()
            while (($#)); do
                case "$1" in -o | -g) shift 2 ;; *) args+=("$1"); shift ;; esac
            done
            exec {shutil.which("install")} "${{args[@]}}" """,
        )
        self._program("place", "echo CAPACITY_TYPE=spot")
        for name in ("chown", "systemctl", "shutdown"):
            self._program(name, "")

    def _program(self, name: str, body: str) -> None:
        path = self._bin / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >> {self.notes}\n{body}\n')
        path.chmod(0o755)

    def boot(self) -> int:
        """Run the user data; return its exit code."""
        text = (EC2 / "user-data.sh").read_text()
        script = text.replace("/etc/", f"{self.root}/etc/").replace("/var/", f"{self.root}/var/")
        script = script.replace("/opt/overbook/bin/place", "place")
        done = subprocess.run(
            ["bash", "-c", script], env={"PATH": f"{self._bin}:{os.environ['PATH']}"},
            capture_output=True, timeout=30, check=False,
        )  # fmt: skip
        return done.returncode


def test_a_new_machine_has_its_credentials_to_itself_and_starts_its_consumer(
    tmp_path: Path,
) -> None:
    secret = json.dumps({"nats.env": "NATS_URL=tls://n:4222", "../spot.nk": "canary"})
    machine = Machine(tmp_path, secret)
    assert machine.boot() == 0
    folder = machine.root / "etc/overbook/nats"
    assert (folder / "nats.env").read_text() == "NATS_URL=tls://n:4222"
    assert (folder / "spot.nk").read_text() == "canary", "a name with dots stays in the folder"
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {0o640}
    weights = machine.root / "var/lib/overbook/models/smollm2/config.json"
    assert weights.stat().st_mode & 0o004, "the consumer is another user, and has to read them"
    notes = machine.notes.read_text()
    assert "systemctl enable --now --no-block overbook-consumer.service" in notes
    assert "shutdown" not in notes
    assert "--secret-id overbook/nats/spot " in notes
    assert "canary" not in notes


def test_a_machine_that_cannot_begin_is_ended_instead_of_paid_for(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "AccessDenied")
    assert machine.boot() != 0
    notes = machine.notes.read_text()
    assert "shutdown -h +5" in notes
    assert "systemctl" not in notes
