"""Alerts and dashboards ask only for what is told, in a language that Prometheus understands."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.expositions import told
from tests.tools import requires_tool

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
RULES = PROMETHEUS / "rules.yaml"
DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))
# What vLLM 0.32 and 0.33 count, of what the dashboards show.
VLLM = {"vllm:kv_cache_usage_perc", "vllm:num_requests_running", "vllm:num_requests_waiting"}
_NAME = re.compile(r"\b((?:fleet|vllm)[a-z0-9_]*:?[a-z0-9_:]*)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")
_GROUPED = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")
# Prometheus's own, of the target and of a histogram.
EVERYWHERE = {"instance", "job", "le"}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> Iterator[tuple[str, str]]:
    """Every query of every dashboard, with where it stands."""
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"]


def queries() -> list[tuple[str, str]]:
    alerts = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]
    return [*alerts, *panels()]


@pytest.fixture(scope="module")
def samples() -> Mapping[str, list[dict[str, str]]]:
    recorded = {rule["record"]: [{"tier": "batch"}] for rule in rules() if "record" in rule}
    return {**told(), **recorded, **{name: [{}] for name in VLLM}}


@pytest.fixture(scope="module")
def promtool() -> str:
    return requires_tool("promtool")


def untold(expr: str, samples: Mapping[str, list[dict[str, str]]]) -> list[str]:
    """Name what a query asks for and nobody tells: samples, and labels in its matchers."""
    missing = []
    for name, matchers in _NAME.findall(expr):
        if name not in samples:
            missing.append(name)
            continue
        labels = set().union(*samples[name]) | EVERYWHERE
        missing += [f"{name}{{{one}}}" for one in _MATCHER.findall(matchers) if one not in labels]
    known = set().union(*(labels for each in samples.values() for labels in each)) | EVERYWHERE
    for group in _GROUPED.findall(expr):
        missing += [one for one in re.findall(r"[a-z_]+", group) if one not in known]
    return missing


@pytest.mark.parametrize(("where", "expr"), queries(), ids=lambda value: str(value)[:40])
def test_a_query_asks_only_for_what_is_told(
    where: str, expr: str, samples: Mapping[str, list[dict[str, str]]]
) -> None:
    assert _NAME.search(expr), f"{where} asks for nothing of ours"
    assert not untold(expr, samples), where


@pytest.mark.parametrize(
    "expr",
    [
        "fleet_queue_waitin_jobs > 0",
        'fleet_queue_waiting_jobs{teir="batch"}',
        "sum by (modle) (fleet_queue_waiting_jobs)",
        "vllm:no_such_thing",
    ],
)
def test_a_slip_in_a_query_is_found(expr: str, samples: Mapping[str, list[dict[str, str]]]) -> None:
    assert untold(expr, samples)


def test_every_sample_that_is_told_has_a_place_on_a_dashboard_or_says_how_to_read_others(
    samples: Mapping[str, list[dict[str, str]]],
) -> None:
    asked = {name for _, expr in queries() for name, _ in _NAME.findall(expr)}
    # What the three dashboards leave to whoever looks closer.
    aside = {
        "fleet_build_info", "fleet_node_info", "fleet_node_state", "fleet_node_jobs",
        "fleet_node_items", "fleet_node_slots", "fleet_node_price_dollars_per_hour",
        "fleet_node_start_time_seconds", "fleet_node_leaves_time_seconds",
        "fleet_engine_load_seconds", "fleet_events_dropped_total", "fleet_stream_messages",
        "fleet_exporter_survey_seconds", "fleet_pool_machines",
        "fleet_pool_open_batches", "fleet_pool_paused", "fleet_pool_troubles",
        "fleet_cost_window_seconds", "fleet_manager_decisions_total", "fleet_manager_looks_total",
        "fleet_manager_broker_connected",
    }  # fmt: skip
    ours = {name for name in samples if name.startswith("fleet_")}
    ours = {name for name in ours if not name.endswith(("_count", "_sum"))}
    assert ours - asked == aside


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    assert alerts
    for alert in alerts:
        assert alert["alert"].startswith("Fleet")
        assert alert["labels"]["severity"] in {"warning", "critical"}
        assert set(alert["annotations"]) == {"summary", "remedy"}


def test_dashboards_have_names_of_their_own_and_ask_the_chosen_prometheus() -> None:
    boards = [json.loads(path.read_text()) for path in DASHBOARDS]
    assert {path.stem for path in DASHBOARDS} == {"fleet", "queue", "cost"}
    assert len({board["uid"] for board in boards}) == len(boards)
    for board in boards:
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        for panel in board["panels"]:
            assert panel["datasource"]["uid"] == "${datasource}"


def test_prometheus_takes_rules_configuration_and_every_query(
    promtool: str, tmp_path: Path
) -> None:
    run([promtool, "check", "config", str(PROMETHEUS / "prometheus.yaml")])
    asked = [{"record": f"asked:{n}", "expr": bound(expr)} for n, (_, expr) in enumerate(panels())]
    file = tmp_path / "asked.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": asked}]}))
    assert f"{len(asked)} rules found" in run([promtool, "check", "rules", str(file)])


def test_every_alert_rises_when_it_should(promtool: str) -> None:
    tried = set(re.findall(r'alertname="(\w+)"', (PROMETHEUS / "rules.test.yaml").read_text()))
    assert tried == {rule["alert"] for rule in rules() if "alert" in rule}
    run([promtool, "test", "rules", str(PROMETHEUS / "rules.test.yaml")])


def test_an_alert_that_was_broken_is_found(promtool: str, tmp_path: Path) -> None:
    shutil.copy(PROMETHEUS / "rules.test.yaml", tmp_path)
    broken = RULES.read_text().replace("fleet_queue_stuck_jobs > 0", "fleet_queue_stuck_jobs > 9")
    (tmp_path / "rules.yaml").write_text(broken)
    tried = subprocess.run(
        [promtool, "test", "rules", str(tmp_path / "rules.test.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert tried.returncode != 0
    assert "FleetStuckJobs" in tried.stdout + tried.stderr


def bound(expr: str) -> str:
    """Give Grafana's variables values."""
    return expr.replace("$__rate_interval", "5m").replace("$model", ".*")


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
