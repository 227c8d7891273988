"""EC2 on its bad days: what moto never says, said by botocore's stub.

The stub checks requests and answers against botocore's own model of the API.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from botocore.stub import ANY, Stubber

from fleet.pool.ec2 import Ec2
from fleet.pool.ec2_api import TRIES, Ec2Api, Place
from fleet.pool.ec2_forms import Ec2Config
from fleet.pool.provider import Fault, Granted, Request
from tests.contract.worlds import TYPES
from tests.moto import REGION, ec2_client

ZONE = "us-east-1a"
CONFIG = Ec2Config(pool="p", template="nodes", subnets={ZONE: "subnet-1"}, instance_types=TYPES)


class Stubbed:
    """A provider whose answers are written down; each is asked for, and in this order."""

    def __init__(self) -> None:
        self.client = ec2_client()
        self.stub = Stubber(self.client)
        self.provider = Ec2(
            CONFIG, Ec2Api(Place(region=REGION), client=self.client, backoff_s=0.001)
        )

    def described(self, *ids: str, state: str = "running") -> None:
        instances = [
            {
                "InstanceId": id_,
                "InstanceType": TYPES[0],
                "LaunchTime": datetime(2026, 11, 25, tzinfo=UTC),
                "State": {"Name": state},
                "Placement": {"AvailabilityZone": ZONE},
                "InstanceLifecycle": "spot",
            }
            for id_ in ids
        ]
        self.stub.add_response("describe_instances", {"Reservations": [{"Instances": instances}]})

    def fleet(self, *ids: str, errors: tuple[tuple[str, str], ...] = ()) -> None:
        """errors: type and code."""
        launched = [{"InstanceIds": [*ids], "InstanceType": TYPES[0], "Lifecycle": "spot"}]
        refused = [
            {
                "ErrorCode": code,
                "ErrorMessage": "We currently do not have sufficient capacity.",
                "Lifecycle": "spot",
                "LaunchTemplateAndOverrides": {"Overrides": {"InstanceType": type_}},
            }
            for type_, code in errors
        ]
        self.stub.add_response(
            "create_fleet",
            {"FleetId": "fleet-1", "Instances": launched if ids else [], "Errors": refused},
        )

    def fails(self, call: str, code: str, status: int = 400, *, times: int = 1) -> None:
        for _ in range(times):
            self.stub.add_client_error(call, code, "so it is", status)


@pytest.fixture
def stubbed() -> Iterator[Stubbed]:
    stubbed = Stubbed()
    with stubbed.stub:
        yield stubbed
        stubbed.stub.assert_no_pending_responses()


def request(count: int = 3) -> Request:
    return Request(id="l1", capacity_type="spot", zone=ZONE, count=count)


def shortfall(granted: Granted) -> Fault:
    assert granted.shortfall is not None
    assert granted.shortfall.zone == ZONE
    return granted.shortfall


async def test_a_fleet_is_asked_for_as_the_api_wants_it(stubbed: Stubbed) -> None:
    stubbed.described()
    stubbed.stub.add_response(
        "create_fleet",
        {
            "FleetId": "fleet-1",
            "Instances": [{"InstanceIds": ["i-1", "i-2", "i-3"], "InstanceType": TYPES[1]}],
        },
        {
            "Type": "instant",
            "ClientToken": "l1",
            "LaunchTemplateConfigs": ANY,
            "SpotOptions": {"AllocationStrategy": "price-capacity-optimized"},
            "TargetCapacitySpecification": ANY,
            "TagSpecifications": ANY,
        },
    )
    granted = await stubbed.provider.launch(request())
    assert [one.id for one in granted.machines] == ["i-1", "i-2", "i-3"]
    assert {one.instance_type for one in granted.machines} == {TYPES[1]}
    assert granted.shortfall is None


async def test_part_of_a_fleet_is_taken_and_the_rest_is_a_fault_of_the_zone(
    stubbed: Stubbed,
) -> None:
    stubbed.described()
    code = "InsufficientInstanceCapacity"
    stubbed.fleet("i-1", errors=tuple((type_, code) for type_ in TYPES))
    granted = await stubbed.provider.launch(request())
    assert [one.id for one in granted.machines] == ["i-1"]
    assert shortfall(granted).kind == "no_capacity"
    assert {one.instance_type for one in granted.faults} == set(TYPES)


async def test_a_type_that_is_sold_out_is_no_shortfall_while_others_are_sold(
    stubbed: Stubbed,
) -> None:
    stubbed.described()
    stubbed.fleet("i-1", "i-2", "i-3", errors=((TYPES[1], "InsufficientInstanceCapacity"),))
    granted = await stubbed.provider.launch(request())
    assert granted.shortfall is None
    assert [one.instance_type for one in granted.faults] == [TYPES[1]]


async def test_fewer_machines_without_a_word_are_a_fault_too(stubbed: Stubbed) -> None:
    stubbed.described()
    stubbed.fleet("i-1")
    assert shortfall(await stubbed.provider.launch(request())).kind == "no_capacity"


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("InsufficientInstanceCapacity", 500, "no_capacity"),
        ("MaxSpotInstanceCountExceeded", 400, "quota"),
        ("VcpuLimitExceeded", 400, "quota"),
        ("UnauthorizedOperation", 403, "refused"),
        ("InvalidLaunchTemplateName.NotFoundException", 400, "refused"),
    ],
)
async def test_a_whole_refusal_is_told_once_and_not_asked_again(
    stubbed: Stubbed, code: str, status: int, kind: str
) -> None:
    stubbed.described()
    stubbed.fails("create_fleet", code, status)
    granted = await stubbed.provider.launch(request())
    assert granted.machines == ()
    assert shortfall(granted).kind == kind
    assert shortfall(granted).code == code


async def test_a_throttled_launch_is_asked_again(stubbed: Stubbed) -> None:
    stubbed.described()
    stubbed.fails("create_fleet", "RequestLimitExceeded", 503, times=TRIES - 1)
    stubbed.fleet("i-1")
    granted = await stubbed.provider.launch(request(1))
    assert [one.id for one in granted.machines] == ["i-1"]


async def test_a_launch_that_is_throttled_for_long_is_given_up(stubbed: Stubbed) -> None:
    stubbed.described()
    stubbed.fails("create_fleet", "RequestLimitExceeded", 503, times=TRIES)
    assert shortfall(await stubbed.provider.launch(request())).kind == "throttled"


async def test_nothing_is_launched_while_nobody_knows_what_there_is(stubbed: Stubbed) -> None:
    stubbed.fails("describe_instances", "InternalError", 500, times=TRIES)
    granted = await stubbed.provider.launch(request())
    assert [one.kind for one in granted.faults] == ["unreachable"]


async def test_a_launch_whose_answer_was_lost_is_found_by_its_tag(stubbed: Stubbed) -> None:
    stubbed.described()
    stubbed.fails("create_fleet", "InternalError", 500)
    stubbed.described("i-1", "i-2")
    granted = await stubbed.provider.launch(request(2))
    assert [one.id for one in granted.machines] == ["i-1", "i-2"]
    assert granted.shortfall is None


async def test_a_launch_that_was_not_heard_is_not_taken_for_done(stubbed: Stubbed) -> None:
    stubbed.described()
    stubbed.fails("create_fleet", "InternalError", 500)
    stubbed.described()
    assert shortfall(await stubbed.provider.launch(request())).kind == "unreachable"


async def test_the_list_asks_for_the_pools_tag_and_reads_every_page(stubbed: Stubbed) -> None:
    filters = [{"Name": "tag:overbook:pool", "Values": ["p"]}]
    pages: list[dict[str, Any]] = [{"Reservations": [], "NextToken": "more"}, {"Reservations": []}]
    for page, more in zip(pages, ({}, {"NextToken": "more"}), strict=True):
        stubbed.stub.add_response(
            "describe_instances", page, {"Filters": filters, "MaxResults": ANY, **more}
        )
    assert await stubbed.provider.list() == ()


async def test_a_list_that_fails_in_the_middle_is_a_fault(stubbed: Stubbed) -> None:
    for _ in range(TRIES):
        stubbed.stub.add_response("describe_instances", {"Reservations": [], "NextToken": "more"})
        stubbed.fails("describe_instances", "RequestLimitExceeded", 503)
    listed = await stubbed.provider.list()
    assert isinstance(listed, Fault)
    assert listed.kind == "throttled"


async def test_one_that_is_gone_does_not_save_the_others(stubbed: Stubbed) -> None:
    stubbed.described("i-1", "i-2", "i-3")
    gone = "InvalidInstanceID.NotFound"
    stubbed.fails("terminate_instances", gone)
    for id_ in ("i-1", "i-2", "i-3"):
        if id_ == "i-2":
            stubbed.fails("terminate_instances", gone)
        else:
            stubbed.stub.add_response(
                "terminate_instances", {"TerminatingInstances": []}, {"InstanceIds": [id_]}
            )
    done = await stubbed.provider.terminate(["i-3", "i-2", "i-1"])
    assert (set(done.ids), done.faults) == ({"i-1", "i-2", "i-3"}, ())


async def test_wildcards_are_not_even_asked_about(stubbed: Stubbed) -> None:
    assert (await stubbed.provider.terminate(["i-*", "*", "i-?", "", "i-1*"])).faults == ()
    for id_ in ("*", "l?", ""):
        granted = await stubbed.provider.launch(msgspec.structs.replace(request(), id=id_))
        assert shortfall(granted).kind == "refused"


async def test_what_could_not_be_terminated_is_said(stubbed: Stubbed) -> None:
    stubbed.described("i-1")
    stubbed.fails("terminate_instances", "UnauthorizedOperation", 403)
    done = await stubbed.provider.terminate(["i-1"])
    assert done.ids == ()
    assert [one.kind for one in done.faults] == ["refused"]
