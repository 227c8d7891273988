"""Custom resources against the schemas that KEDA, Karpenter and the Prometheus operator publish."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.cluster import OVERLAYS, ROOT, overlay, parse
from tests.deploy.custom_resources import Schemas, check, is_custom

# Third parties' data, and no part of this project. CRD_SCHEMAS says where it lies.
PLACE = Path(os.environ.get("CRD_SCHEMAS", ROOT.parent / "shared/data/crd-schemas"))

OWN: dict[str, Any] = {
    "type": "object",
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "properties": {
                "most": {"type": "integer", "default": 10},
                "least": {"type": "integer"},
                "alias": {"type": "string"},
                "size": {"x-kubernetes-int-or-string": True, "type": "string"},
                "tags": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            "required": ["least"],
            "x-kubernetes-validations": [
                {"rule": "self.least <= self.most", "message": "least is above most"},
                {"rule": "!has(self.alias) || self.alias.split('@')[0] in ['al2023']"},
                {"rule": "self.least == oldSelf.least"},
            ],
        },
    },
}


@pytest.fixture(scope="module")
def schemas() -> Schemas:
    """What is published, or a skip that says so."""
    if not PLACE.is_dir():
        pytest.skip(
            f"published schemas of custom resources are not at {PLACE}: name their folder in "
            "CRD_SCHEMAS; NOT CHECKED: NodePools, EC2NodeClass, ScaledObjects, PodMonitors"
        )
    return Schemas.read(PLACE)


def problems(**spec: Any) -> list[str]:
    """Check a resource of our own."""
    known = Schemas({("example.com/v1", "thing"): OWN}, {})
    manifest = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {}, "spec": spec}
    return check(manifest, known).errors


def test_a_rule_sees_the_defaults_that_the_server_would_fill_in() -> None:
    assert problems(least=10) == []
    assert problems(least=11) == ["Thing.spec: least is above most"]


def test_unknown_and_missing_fields_are_refused_at_any_depth() -> None:
    assert "'leest' was unexpected" in problems(leest=1, least=1)[0]
    assert "'least' is a required property" in problems(most=1)[0]
    assert problems(least=1, tags={"any": "name"}, size=3) == []
    assert "3 is not of type 'string'" in problems(least=1, tags={"any": 3})[0]


def test_functions_that_only_kubernetes_has_are_evaluated_too() -> None:
    assert problems(least=1, alias="al2023@latest") == []
    assert len(problems(least=1, alias="bottlerocket")) == 1


def test_a_kind_that_nobody_published_is_an_error() -> None:
    known = Schemas({}, {})
    manifest = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {}}
    assert check(manifest, known).errors == ["example.com/v1 Thing: no schema is known"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_custom_resource_is_one_that_its_api_server_takes(
    name: str, schemas: Schemas
) -> None:
    checked = [check(one, schemas) for one in parse(overlay(name)) if is_custom(one)]
    assert [error for one in checked for error in one.errors] == []
    assert [rule for one in checked for rule in one.skipped] == []
    if name == "aws":
        assert len(checked) == 8
        assert sum(one.evaluated for one in checked) > 80


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        (
            "alias: bottlerocket@latest",
            "alias: bottlerocket",
            "'bottlerocket' does not match|alias",
        ),
        (
            "consolidationPolicy: WhenEmpty",
            "consolidationPolicy: WhenIdle",
            "'WhenIdle' is not one",
        ),
        ("expireAfter: Never", "expireAfter: 3 days", "'3 days' does not match"),
        ("minValues: 2", "minValues: 4", "minValues"),
        ("nvidia.com/gpu.present:", "karpenter.sh/gpu:", "karpenter.sh"),
        ("role: overbook", "instanceProfile: a\n  role: overbook", "role"),
        ("lagThreshold:", "lagTreshold:", "lagTreshold is no field of nats-jetstream"),
        ("account: CORE", "format: sml", "format is no field"),
        ("valueLocation: spot", "format: sml\n      valueLocation: spot", "format=sml is none of"),
        ("valueLocation: spot\n", "\n", "valueLocation is missing"),
        ("type: metrics-api", "type: metrics", "KEDA has no trigger metrics"),
        ("maxReplicaCount: 4", "maxReplicaCount: 1", "minReplicaCount must be less"),
        ("cooldownPeriod: 600", "cooldownPeriod: soon", "'soon' is not of type 'integer'"),
        ("podMetricsEndpoints:", "podMetricsEndpoint:", "'podMetricsEndpoint' was unexpected"),
    ],
)
def test_a_planted_error_is_found(right: str, wrong: str, complaint: str, schemas: Schemas) -> None:
    text = overlay("aws")
    assert right in text
    found = [
        error
        for one in parse(text.replace(right, wrong, 1))
        if is_custom(one)
        for error in check(one, schemas).errors
    ]
    assert any(part in error for part in complaint.split("|") for error in found), found
