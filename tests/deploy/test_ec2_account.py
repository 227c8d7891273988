"""A fleet on EC2: the launch template, and what the roles of nodes and manager may do."""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ParamValidationError
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import validate_parameters
from moto import mock_aws

from fleet.pool.ec2_settings import read_settings
from tests.deploy.cluster import ROOT

EC2 = ROOT / "deploy" / "ec2"
MOST_USER_DATA = 16 * 1024


def template(folder: Path, *, ready: bool = True) -> subprocess.CompletedProcess[str]:
    """Write the launch template, with names in place of the placeholders."""
    for name in ("launch-template.sh", "launch-template.json", "user-data.sh"):
        shutil.copy(EC2 / name, folder)
        if ready and not name.endswith("template.sh"):
            path = folder / name
            text = path.read_text().replace("s3://BUCKET", "s3://ours")
            path.write_text(text.replace("PLACEHOLDER", "0123456789abcdef0"))
    return subprocess.run(
        [str(folder / "launch-template.sh")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_launch_template_is_one_that_ec2_takes(tmp_path: Path) -> None:
    made = template(tmp_path)
    assert made.returncode == 0, made.stderr
    request = json.loads(made.stdout)
    # botocore's own model of the service knows every field and its type.
    model = ServiceModel(Loader().load_service_model("ec2", "service-2"), "ec2")
    shape = model.operation_model("CreateLaunchTemplate").input_shape
    validate_parameters(request, shape)
    script = base64.b64decode(request["LaunchTemplateData"]["UserData"])
    assert script == (tmp_path / "user-data.sh").read_bytes()
    assert len(request["LaunchTemplateData"]["UserData"]) < MOST_USER_DATA
    request["LaunchTemplateData"]["MetadataOptions"]["HttpToken"] = "required"
    with pytest.raises(ParamValidationError, match="HttpToken"):
        validate_parameters(request, shape)


def test_the_template_leaves_to_the_manager_what_is_the_managers_and_asks_for_tokens() -> None:
    data = json.loads((EC2 / "launch-template.json").read_text())["LaunchTemplateData"]
    # A price makes reclaims more frequent; type, subnet and market are chosen for each launch.
    assert (
        not {"InstanceType", "InstanceMarketOptions", "NetworkInterfaces", "KeyName"} & data.keys()
    )
    assert data["MetadataOptions"] == {
        "HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1,
    }  # fmt: skip
    assert data["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert all(one["Ebs"]["Encrypted"] for one in data["BlockDeviceMappings"])


def test_a_template_with_a_placeholder_left_is_not_written(tmp_path: Path) -> None:
    made = template(tmp_path, ready=False)
    assert made.returncode == 1
    assert made.stdout == ""
    assert "ami-PLACEHOLDER" in made.stderr


def test_the_example_of_a_pool_is_one_that_the_manager_reads() -> None:
    config, where = read_settings(EC2 / "pool.toml")
    assert where.region == "us-east-2"
    assert len(config.subnets) == 3
    assert len(config.instance_types) >= 3
    made = json.loads((EC2 / "launch-template.json").read_text())
    assert config.template == made["LaunchTemplateName"]


def statements(name: str) -> list[dict[str, Any]]:
    """Read a policy."""
    policy = json.loads((EC2 / "policies" / f"{name}.json").read_text())
    found: list[dict[str, Any]] = policy["Statement"]
    return found


def actions(name: str) -> set[str]:
    """Return what a policy allows."""
    return {
        action
        for one in statements(name)
        for action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])
    }


def test_policies_are_ones_that_iam_takes() -> None:
    with mock_aws():
        iam = boto3.client(
            "iam", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        trust = (EC2 / "policies" / "node-trust.json").read_text()
        iam.create_role(RoleName="overbook-node", AssumeRolePolicyDocument=trust)
        for name in ("node", "manager"):
            text = (EC2 / "policies" / f"{name}.json").read_text()
            iam.create_policy(PolicyName=name, PolicyDocument=text)
        with pytest.raises(iam.exceptions.MalformedPolicyDocumentException):
            iam.create_policy(PolicyName="bad", PolicyDocument=text.replace('"Effect"', '"Efect"'))


def test_the_managers_role_allows_the_calls_that_it_makes_and_what_these_imply() -> None:
    source = "".join(path.read_text() for path in (ROOT / "fleet" / "pool").glob("*.py"))
    called = set(re.findall(r"ec2\.((?:create|describe|terminate|modify|run)_\w+)\(", source))
    called |= set(re.findall(r'ec2\.get_paginator\("(\w+)"\)', source))
    assert len(called) >= 4
    made = {f"ec2:{name.title().replace('_', '')}" for name in called}
    # A fleet runs instances, marks them, and gives them their role.
    assert actions("manager") == made | {"ec2:RunInstances", "ec2:CreateTags", "iam:PassRole"}


def test_what_changes_anything_is_bound_to_one_pool_template_or_role() -> None:
    for one in [*statements("manager"), *statements("node")]:
        reads_only = one["Sid"] == "Look"
        assert reads_only or one["Resource"] != "*" or "Condition" in one, one["Sid"]
        assert "*" not in json.dumps(one["Action"]), one["Sid"]
    assert actions("node") == {"secretsmanager:GetSecretValue", "s3:GetObject", "s3:ListBucket"}
    (keys,) = (one["Resource"] for one in statements("node") if "Credentials" in one["Sid"])
    # Whoever keeps an operator's key beside them has not given it to every node.
    assert {one.partition(":secret:")[2] for one in keys} == {
        "overbook/nats/spot-??????", "overbook/nats/on-demand-??????",
    }  # fmt: skip
