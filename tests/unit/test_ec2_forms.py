"""What is said to EC2, and how its answers are read."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from fleet.errors import UsageError
from fleet.job import CapacityType
from fleet.pool.ec2 import Ec2
from fleet.pool.ec2_api import Ec2Api, Place, fault
from fleet.pool.ec2_forms import Ec2Config, Instance, machine, wish
from fleet.pool.provider import Request

CONFIG = Ec2Config(
    pool="p",
    template="nodes",
    subnets={"us-east-1a": "subnet-a", "us-east-1b": "subnet-b"},
    instance_types=("g6.xlarge", "g5.xlarge", "g6e.xlarge"),
)


def request(capacity_type: CapacityType = "spot", *types: str) -> Request:
    return Request(
        id="l1", capacity_type=capacity_type, zone="us-east-1b", count=3, instance_types=types
    )


def instance(**said: object) -> Instance:
    usual = {
        "InstanceId": "i-1",
        "InstanceType": "g6.xlarge",
        "LaunchTime": datetime(2026, 11, 25, 22, 0, tzinfo=UTC),
        "State": {"Name": "running", "Code": 16},
        "Placement": {"AvailabilityZone": "us-east-1b", "Tenancy": "default"},
    }
    return msgspec.convert(usual | said, Instance)


def overrides(wished: Any) -> Any:
    return wished["LaunchTemplateConfigs"][0]["Overrides"]


@pytest.mark.parametrize("capacity_type", ["spot", "on-demand"])
def test_a_fleet_is_for_one_zone_all_types_and_one_capacity_type(
    capacity_type: CapacityType,
) -> None:
    wished = wish(CONFIG, request(capacity_type))
    assert wished["Type"] == "instant"
    assert {one["SubnetId"] for one in overrides(wished)} == {"subnet-b"}
    assert [one["InstanceType"] for one in overrides(wished)] == list(CONFIG.instance_types)
    spot = 3 if capacity_type == "spot" else 0
    assert wished["TargetCapacitySpecification"] == {
        "TotalTargetCapacity": 3,
        "SpotTargetCapacity": spot,
        "OnDemandTargetCapacity": 3 - spot,
        "DefaultTargetCapacityType": capacity_type,
    }


@pytest.mark.parametrize("capacity_type", ["spot", "on-demand"])
def test_no_price_is_ever_named(capacity_type: CapacityType) -> None:
    assert 'price"' not in json.dumps(wish(CONFIG, request(capacity_type))).lower()


def test_every_machine_is_born_with_the_pools_tags() -> None:
    said: Any = wish(CONFIG, request())
    [tags] = said["TagSpecifications"]
    assert tags["ResourceType"] == "instance"
    assert {one["Key"]: one["Value"] for one in tags["Tags"]} == {
        "Name": "overbook-p",
        "overbook:pool": "p",
        "overbook:launch-id": "l1",
        "overbook:capacity-type": "spot",
    }


def test_a_launch_may_choose_its_own_types() -> None:
    wished = wish(CONFIG, request("spot", "p5.48xlarge"))
    assert [one["InstanceType"] for one in overrides(wished)] == ["p5.48xlarge"]


def test_a_launch_repeats_its_token() -> None:
    assert wish(CONFIG, request())["ClientToken"] == "l1"


def test_an_instance_is_read_as_a_machine() -> None:
    read = machine(
        instance(
            InstanceLifecycle="spot",
            Tags=[{"Key": "overbook:launch-id", "Value": "l1"}, {"Key": "x", "Value": "y"}],
        )
    )
    assert (read.id, read.node, read.launch) == ("i-1", "i-1", "l1")
    assert (read.capacity_type, read.zone, read.state) == ("spot", "us-east-1b", "running")
    assert read.started_at == datetime(2026, 11, 25, 22, 0, tzinfo=UTC).timestamp()
    assert read.end is None


@pytest.mark.parametrize(
    ("code", "end"),
    [
        ("Server.SpotInstanceTermination", "reclaimed"),
        ("Server.SpotInstanceShutdown", "reclaimed"),
        ("Client.UserInitiatedShutdown", "terminated"),
        ("Client.InstanceInitiatedShutdown", "terminated"),
        ("Server.InternalError", "failed"),
        ("Client.VolumeLimitExceeded", "failed"),
        ("", "terminated"),
    ],
)
def test_an_instance_that_ended_says_why_and_when(code: str, end: str) -> None:
    read = machine(
        instance(
            State={"Name": "terminated"},
            StateReason={"Code": code, "Message": "..."},
            StateTransitionReason="User initiated (2026-11-25 22:03:58 GMT)",
        )
    )
    assert (read.state, read.end, read.alive) == ("ended", end, False)
    assert read.ended_at == datetime(2026, 11, 25, 22, 3, 58, tzinfo=UTC).timestamp()


def test_a_reclaim_is_known_before_the_instance_is_gone() -> None:
    reason = {"Code": "Server.SpotInstanceTermination"}
    leaving = machine(instance(State={"Name": "shutting-down"}, StateReason=reason))
    assert (leaving.state, leaving.end, leaving.ended_at) == ("stopping", "reclaimed", None)


@pytest.mark.parametrize("text", ["", "User initiated", "(2026-99-25 22:03:58 GMT)", "(now GMT)"])
def test_an_end_without_a_time_has_none(text: str) -> None:
    read = machine(instance(State={"Name": "terminated"}, StateTransitionReason=text))
    assert read.ended_at is None


@pytest.mark.parametrize("state", ["shutting-down", "stopping", "stopped", "something-new"])
def test_an_instance_in_any_other_state_is_on_its_way_out(state: str) -> None:
    read = machine(instance(State={"Name": state}))
    assert (read.state, read.alive) == ("stopping", False)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        # EC2 says so with the status of a broken server.
        ("InsufficientInstanceCapacity", 500, "no_capacity"),
        ("UnfulfillableCapacity", 400, "no_capacity"),
        ("SpotMaxPriceTooLow", 400, "no_capacity"),
        ("Unsupported", 400, "no_capacity"),
        ("MaxSpotInstanceCountExceeded", 400, "quota"),
        ("VcpuLimitExceeded", 400, "quota"),
        ("RequestLimitExceeded", 503, "throttled"),
        ("Unknown", 429, "throttled"),
        ("InternalError", 500, "unreachable"),
        ("", 502, "unreachable"),
        ("UnauthorizedOperation", 403, "refused"),
        ("InvalidLaunchTemplateName.NotFoundException", 400, "refused"),
        ("IdempotentParameterMismatch", 400, "refused"),
        ("", 0, "refused"),
    ],
)
def test_what_ec2_says_is_said_in_our_words(code: str, status: int, kind: str) -> None:
    said = fault(code, "why it is so", status, zone="us-east-1b", instance_type="g6.xlarge")
    assert said.kind == kind
    assert said.code == code
    assert "g6.xlarge of zone us-east-1b" in said.text
    assert "why it is so" in said.text


@pytest.mark.parametrize(
    "wrong", [{"subnets": {}}, {"instance_types": []}, {"pool": "a b"}, {"template": "x"}, {"x": 1}]
)
def test_a_pool_that_makes_no_sense_is_refused_when_it_is_read(wrong: dict[str, object]) -> None:
    good = msgspec.to_builtins(CONFIG)
    assert msgspec.convert(good, Ec2Config) == CONFIG
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(good | wrong, Ec2Config)


def test_a_pool_without_a_zone_is_refused_when_it_is_made() -> None:
    empty = msgspec.structs.replace(CONFIG, subnets={})
    with pytest.raises(UsageError, match="no subnet"):
        Ec2(empty, Ec2Api(Place(region="us-east-1")))
