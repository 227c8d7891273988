"""Manifests: they build, Kubernetes knows every field, and none falls into a known trap."""

import subprocess
import sys
from pathlib import Path

import pytest

from consumers.command import command as consumer
from fleet.cli.main import cli as fleet
from fleet.job import Tier
from fleet.prices import read_book
from fleet.settings import Settings
from fleet.subjects import durable
from tests.deploy import capacity_rules, pod_rules, prometheus_rule
from tests.deploy.cluster import (
    KUBERNETES,
    OVERLAYS,
    containers,
    environment,
    filled,
    kustomize,
    named,
    overlay,
    parse,
    parsed,
    pods,
)

PRICES = "/etc/overbook/prices/prices.toml"
# The oldest that has all we use, and the newest that is known here.
VERSIONS = ("1.33.0", "1.37.0")


def complaints_of_schemas(version: str, *paths: Path) -> list[str]:
    """Hold manifests against Kubernetes' own schemas, unknown fields included."""
    command = [
        str(Path(sys.executable).parent / "kubernetes-validate"),
        "--strict", "--quiet", "--no-warn", "--kubernetes-version", version, *map(str, paths),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = done.stdout.splitlines() + done.stderr.splitlines()
    assert bool(said) == bool(done.returncode), done
    return said


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field(version: str, tmp_path: Path) -> None:
    for name in OVERLAYS:
        (tmp_path / name).write_text(overlay(name))
    assert complaints_of_schemas(version, *(tmp_path / name for name in OVERLAYS)) == []


@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.parametrize(
    "rule", [*pod_rules.RULES, *capacity_rules.RULES], ids=lambda rule: rule.__name__
)
def test_no_manifest_falls_into_a_known_trap(name: str, rule: pod_rules.Rule) -> None:
    assert list(rule(parse(overlay(name)))) == []


@pytest.mark.parametrize("name", OVERLAYS)
def test_our_programs_understand_their_arguments_and_settings(name: str, tmp_path: Path) -> None:
    manifests = parse(overlay(name))
    book = next(one["data"] for one in manifests if one["metadata"]["name"].startswith("prices"))[
        "prices.toml"
    ]
    read_book(book, name=PRICES)
    prices = tmp_path / "prices.toml"
    prices.write_text(book)
    seen = 0
    for _, _, template in pods(manifests):
        for one in containers(template):
            image = one["image"].rpartition("/")[2].partition(":")[0]
            Settings.from_env(pod_rules.settings_in(environment(manifests, one)))
            if "command" in one or not image.startswith("overbook-"):
                continue
            program = consumer if image == "overbook-consumer" else fleet
            parsed(
                program,
                [argument.replace(PRICES, str(prices)) for argument in filled(manifests, one)],
            )
            seen += 1
    assert seen == 6


def test_prometheus_in_the_cluster_has_the_alerts_of_now() -> None:
    assert prometheus_rule.RESOURCE.read_text() == prometheus_rule.made(), prometheus_rule.__doc__


def test_another_model_is_another_pool_that_shares_nothing_with_the_first(tmp_path: Path) -> None:
    # Kustomize takes resources by relative paths.
    (tmp_path / "kubernetes").symlink_to(KUBERNETES)
    folder = tmp_path / "qwen"
    folder.mkdir()
    folder.joinpath("kustomization.yaml").write_text(
        """
resources: [../kubernetes/base/pool]
components: [../kubernetes/components/keda]
nameSuffix: -qwen
configMapGenerator:
  - name: pool
    namespace: overbook
    behavior: merge
    literals:
      - MODEL=qwen
      - TARGETS=http://manager-qwen.overbook.svc.cluster.local:8089/targets/qwen
labels:
  - pairs: {overbook.dev/pool: qwen}
    includeSelectors: true
"""
    )
    manifests = parse(kustomize(folder))
    both = [*manifests, *parse(overlay("aws"))]
    assert list(pod_rules.disrupted_with_care(both)) == [], (
        "a pod of one is in a budget of the other"
    )
    assert list(capacity_rules.asks_who_knows(manifests)) == []
    assert list(capacity_rules.scaled_by_one_hand(manifests)) == []
    names = {(one["kind"], one["metadata"]["name"]) for one in manifests}
    first = {(one["kind"], one["metadata"]["name"]) for one in parse(overlay("aws"))}
    assert ("ScaledObject", "realtime-qwen") in names
    assert not names & first
    scaled = named(manifests, "ScaledObject", "realtime-qwen")["spec"]
    assert scaled["scaleTargetRef"]["name"] == "realtime-qwen"
    assert scaled["triggers"][0]["metadata"]["consumer"] == durable(Tier.REALTIME, "qwen")
