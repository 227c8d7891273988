"""The broker's configurations as shipped: the server takes them, and they say what matters."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet.broker.server import find_server
from fleet.tenancy.render import render
from tests.certificates import Authority
from tests.deploy.test_kubernetes import complaints_of_schemas
from tests.tenants import register

NATS = Path(__file__).parents[2] / "deploy" / "nats"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder as on a server: configurations, accounts, certificates."""
    for name in ("common.conf", "single.conf", "cluster.conf"):
        (tmp_path / name).write_text((NATS / name).read_text())
    (tmp_path / "accounts.conf").write_text(render(register()))
    Authority(tmp_path, "ca").certificate("n1")
    return tmp_path


def environment(place: Path) -> dict[str, str]:
    """The shipped environment, with its files where the test has them."""
    lines = (NATS / "server.env").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return given | {
        "NATS_CERT": str(place / "n1.pem"),
        "NATS_KEY": str(place / "n1.key"),
        "NATS_CA": str(place / "ca.pem"),
    }


def accepted(file: Path, env: dict[str, str]) -> str:
    """Let the server's parser read a configuration: "" or what it says against it."""
    checked = subprocess.run(
        [find_server(os.environ), "-t", "-c", file],
        capture_output=True, text=True, timeout=20, check=False, env={**os.environ, **env},
    )  # fmt: skip
    return checked.stderr if checked.returncode else ""


@pytest.mark.parametrize("name", ["single.conf", "cluster.conf"])
def test_the_server_takes_what_is_shipped(place: Path, name: str) -> None:
    assert accepted(place / name, environment(place)) == ""


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("common.conf", "sync_interval: always", "sync_interval: allways"),
        ("common.conf", "ping_max: 2", "ping_max: two"),
        ("common.conf", "key_file: $NATS_KEY", "key_file: $NATS_KEYS"),
        ("cluster.conf", "verify: true", "verify: perhaps"),
        ("accounts.conf", '"service": "$JS.API.INFO"', '"service": "$JS..INFO"'),
        ("accounts.conf", '"account": "CORE"', '"account": "CORF"'),
    ],
)
def test_a_planted_error_is_found(place: Path, file: str, old: str, new: str) -> None:
    text = (place / file).read_text()
    assert old in text
    (place / file).write_text(text.replace(old, new))
    assert accepted(place / "cluster.conf", environment(place))


def test_a_variable_that_is_missing_is_told(place: Path) -> None:
    env = environment(place)
    del env["NATS_STORE"]
    assert "NATS_STORE" in accepted(place / "single.conf", env)


def test_what_matters_is_set() -> None:
    text = (NATS / "common.conf").read_text()
    for setting in (
        r"sync_interval: always",
        r"max_file_store: \$NATS_MAX_STORE",
        r'ping_interval: "5s"',
        r"ping_max: 2",
        r"max_payload: 1MB",
        r'min_version: "1.3"',
    ):
        assert re.search(setting, text), setting
    assert "verify: true" in (NATS / "cluster.conf").read_text()
    # What is not encrypted and asks for no key listens on loopback.
    assert "NATS_MONITOR=127.0.0.1:" in (NATS / "server.env").read_text()


def test_the_charts_values_make_a_configuration_that_the_server_takes(place: Path) -> None:
    values = yaml.safe_load((NATS / "values.yaml").read_text())
    file = place / "chart" / "nats.conf"
    file.parent.mkdir()
    (place / "nats-accounts").mkdir()
    (place / "accounts.conf").rename(place / "nats-accounts" / "accounts.conf")
    file.write_text(as_the_chart_writes(values, place))
    assert accepted(file, {"SERVER_NAME": "nats-0"}) == ""
    text = file.read_text()
    assert '"sync_interval": "always"' in text
    assert "max_file_store" in text
    assert values["config"]["jetstream"]["fileStore"]["maxSize"] == "40Gi"
    assert values["config"]["jetstream"]["fileStore"]["pvc"]["size"] == "50Gi"


def test_the_charts_servers_are_spread_over_zones() -> None:
    values = yaml.safe_load((NATS / "values.yaml").read_text())
    spread = values["podTemplate"]["topologySpreadConstraints"]["topology.kubernetes.io/zone"]
    assert spread == {"maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
    # A node group's nodes do not have Karpenter's label: what asked for one would wait for ever.
    assert "nodeSelector" not in values["podTemplate"]["merge"]["spec"]
    assert values["config"]["cluster"]["replicas"] == 3


def test_the_charts_monitoring_port_is_for_those_who_scale_and_measure(tmp_path: Path) -> None:
    values = yaml.safe_load((NATS / "values.yaml").read_text())
    path = tmp_path / "more.yaml"
    path.write_text(yaml.safe_dump_all(values["extraResources"]))
    assert complaints_of_schemas("1.33.0", path) == []
    (policy,) = values["extraResources"]
    let_in = {rule["ports"][0]["port"]: rule.get("from") for rule in policy["spec"]["ingress"]}
    # Whoever reaches it learns names, subjects and addresses of everybody, without a login.
    assert let_in.keys() == {"nats", "cluster", "monitor"}
    assert all("namespaceSelector" in peer for peer in let_in["monitor"])
    assert [*let_in["cluster"][0]] == ["podSelector"]


def as_the_chart_writes(values: dict[str, Any], place: Path) -> str:
    """Write nats.conf as the templates of chart 2.14.2 do, of the values that we use.

    It is what Helm makes of them, character for character, but for the paths.
    """
    config = values["config"]
    tls = {
        "cert_file": str(place / "n1.pem"),
        "key_file": str(place / "n1.key"),
        "ca_file": str(place / "ca.pem"),
    }
    store, memory = config["jetstream"]["fileStore"], config["jetstream"]["memoryStore"]
    whole = {
        "server_name": "<< $SERVER_NAME >>",
        "port": 4222,
        "http_port": 8222,
        "pid_file": str(place / "nats.pid"),
        "lame_duck_grace_period": "10s",
        "lame_duck_duration": "30s",
        "tls": tls | config["nats"]["tls"]["merge"],
        "cluster": {
            "name": "nats",
            "port": 6222,
            "no_advertise": True,
            "routes": [f"tls://nats-{n}.nats-headless:6222" for n in range(3)],
            "tls": tls | config["cluster"]["tls"]["merge"],
        },
        "jetstream": {
            "store_dir": str(place / "data"),
            "max_file_store": f"<< {store['maxSize']} >>",
            "max_memory_store": f"<< {memory['maxSize']} >>",
            **config["jetstream"]["merge"],
        },
        **config["merge"],
    }
    text = re.sub(
        r'".*\$include": "(.*)",?', r"include \1;", json.dumps(whole, indent=2, sort_keys=True)
    )
    return re.sub(r'"<<\s+(.*?)\s+>>"', r"\1", text)
