"""`fleet init` and `fleet doctor` against a real broker."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from fleet.cli import doctor, init
from fleet.errors import BrokerUnreachable
from tests.server import nats_server


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with nats_server(tmp_path_factory.mktemp("doctor")) as server:
        yield server.url


def test_a_broker_is_set_up_once_and_then_found_fit(url: str) -> None:
    run = CliRunner().invoke
    sick = run(doctor.command, ["--nats", url, "--model", "smollm2", "--json"])
    assert sick.exit_code == 1
    assert {"name": "RESULTS", "state": "failed", "detail": "missing",
            "remedy": "run `fleet init`"} in json.loads(sick.stdout)["checks"]  # fmt: skip

    made = run(init.command, ["--nats", url, "--model", "smollm2"])
    assert made.exit_code == 0
    assert "batch_smollm2" in made.stdout.splitlines()
    again = run(init.command, ["--nats", url, "--model", "smollm2"])
    assert again.stdout == ""

    fit = run(doctor.command, ["--nats", url, "--json"])
    report = json.loads(fit.stdout)
    assert fit.exit_code == 0
    assert report["ok"] is True
    states = {check["name"]: check["state"] for check in report["checks"]}
    assert states == {
        "server": "ok", "jetstream": "ok", "topology": "ok", "queues": "ok",
        "payloads": "ok", "sync": "unknown", "clock": "ok",
    }  # fmt: skip


def test_each_check_is_a_line(url: str) -> None:
    run = CliRunner().invoke
    run(init.command, ["--nats", url, "--model", "smollm2"])
    result = run(doctor.command, ["--nats", url])
    assert any(line.startswith("ok      server: ") for line in result.stdout.splitlines())
    assert "--monitor" in result.stdout


@pytest.mark.parametrize(("always", "code"), [(True, 0), (False, 1)])
def test_the_monitor_tells_whether_confirmed_means_on_disk(
    tmp_path: Path, always: bool, code: int
) -> None:
    run = CliRunner().invoke
    # A block of its own needs a folder of its own: its default is one for the whole machine.
    block = f'jetstream: {{ sync_interval: always, store_dir: "{tmp_path}/js" }}'
    sync = block if always else ""
    with nats_server(tmp_path, config=f'http: "127.0.0.1:-1"\n{sync}') as server:
        ports = json.loads((tmp_path / f"nats-server_{server.process.pid}.ports").read_text())
        monitor = ports["monitoring"][0]
        run(init.command, ["--nats", server.url, "--model", "smollm2"])
        result = run(doctor.command, ["--nats", server.url, "--monitor", monitor])
    assert result.exit_code == code
    assert ("sync_interval: always" in result.stdout) is not always


def test_a_monitor_that_is_not_there_is_named(url: str) -> None:
    result = CliRunner().invoke(doctor.command, ["--nats", url, "--monitor", "http://127.0.0.1:1"])
    assert isinstance(result.exception, BrokerUnreachable)
    assert "--monitor" in str(result.exception)


def test_no_model_is_a_wrong_call(url: str) -> None:
    assert CliRunner().invoke(init.command, ["--nats", url]).exit_code == 2
