"""EC2 on its bad days: what moto never says, said by botocore's stub, and lines that break.

The stub checks requests and answers against botocore's own model of the API.
"""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from botocore.stub import ANY, Stubber

from fleet.pool.ec2 import Ec2
from fleet.pool.ec2_api import TRIES, Ec2Api, Place
from fleet.pool.ec2_forms import Ec2Config
from fleet.pool.guard import Guard
from fleet.pool.provider import Fault, Granted, Machine, Request
from fleet.pool.reaper import Patience, Reaper
from tests.contract.worlds import TYPES, Ec2World
from tests.moto import REGION, Moto, ec2_client

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


async def test_nothing_of_other_pools_is_ended(moto: Moto, unique: str) -> None:
    ours, theirs = Ec2World(moto, f"{unique}-1"), Ec2World(moto, f"{unique}-2")
    wanted = Request(id=unique, capacity_type="spot", zone=ours.zones[0], count=1)
    granted = await theirs.provider.launch(wanted)
    await ours.provider.terminate([granted.machines[0].id])
    assert [one.state for one in await listed(theirs.again())] == ["running"]


async def test_a_manager_that_died_after_a_launch_leaks_nothing(moto: Moto, unique: str) -> None:
    world = Ec2World(moto, unique)
    with dies_behind(world.client, "CreateFleet"), pytest.raises(Died):
        await world.provider.launch(
            Request(id=unique, capacity_type="spot", zone=world.zones[0], count=2)
        )
    successor, reaper = Guard(world.again()), Reaper(Patience(start_s=600.0))
    found, now = await listed(successor), 0.0
    assert len(found) == 2
    while not (leaks := reaper.look(found, [], now)):
        now += 10.0
        assert now < 700.0
    await successor.terminate([leak.id for leak in leaks])
    assert [one.alive for one in await listed(successor)] == [False, False]


async def test_a_successor_that_asks_with_the_same_id_launches_nothing_twice(
    moto: Moto, unique: str
) -> None:
    world = Ec2World(moto, unique)
    wanted = Request(id=unique, capacity_type="spot", zone=world.zones[0], count=2)
    with dies_behind(world.client, "CreateFleet"), pytest.raises(Died):
        await world.provider.launch(wanted)
    granted = await world.again().launch(wanted)
    assert len(granted.machines) == len(await listed(world.again())) == 2


async def test_an_instance_without_its_fields_is_no_answer(moto: Moto) -> None:
    world = Ec2World(moto, "p")
    world.client.meta.events.register(
        "after-call.ec2.DescribeInstances",
        lambda parsed, **_: parsed.update({"Reservations": [{"Instances": [{}]}]}),
    )
    heard = await world.again().list()
    assert isinstance(heard, Fault)
    assert heard.kind == "unreachable"


async def test_what_is_no_answer_of_ec2s_is_a_fault_and_not_an_empty_pool(
    credentials: None,
) -> None:
    answers = [
        (200, b"<html>a proxy that wants you to log in</html"),
        (200, b"<html>a proxy that wants you to log in</html>"),
        (200, b"{}"),
        (200, b""),
        (200, b"\xff\xfe\x00"),
        (302, b""),
        (404, b"not here"),
        (500, b"<oops"),
        (503, b""),
    ]
    async with answering([answer for answer in answers for _ in range(TRIES)]) as port:
        provider = at(port)
        for answer in answers:
            heard = await provider.list()
            assert isinstance(heard, Fault), (answer, heard)


async def test_nobody_there_is_a_fault(credentials: None) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        heard = await at(held.getsockname()[1]).list()
    assert isinstance(heard, Fault)
    assert heard.kind == "unreachable"
    assert "127.0.0.1" in heard.text


async def test_somebody_who_never_answers_is_a_fault(credentials: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        heard = await at(silent.getsockname()[1]).list()
    assert isinstance(heard, Fault)
    assert heard.kind == "unreachable"


async def test_credentials_are_found_as_boto3_finds_them(
    moto: Moto, credentials: None, unique: str
) -> None:
    config = Ec2Config(pool=unique, template="nodes", subnets=moto.subnets, instance_types=TYPES)
    place = Place(region=REGION, endpoint=moto.endpoint)
    assert await Ec2(config, Ec2Api(place)).list() == ()


async def test_no_credentials_are_a_fault_that_says_so(
    monkeypatch: pytest.MonkeyPatch, moto: Moto
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    heard = await Ec2(CONFIG, Ec2Api(Place(region=REGION, endpoint=moto.endpoint))).list()
    assert isinstance(heard, Fault)
    assert heard.kind == "refused"
    assert "credentials" in heard.text


@asynccontextmanager
async def answering(answers: Sequence[tuple[int, bytes]]) -> AsyncIterator[int]:
    """Answer requests in this order, one a connection; yields the port."""
    left = iter(answers)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        status, body = next(left)
        head = f"HTTP/1.1 {status} So\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


class Died(BaseException):
    """The end of a process, as far as its machines are concerned."""


@contextmanager
def dies_behind(client: Any, call: str) -> Iterator[None]:
    """Let whoever makes the call die when it has been done, and before anybody hears of it."""

    def die(**_: object) -> None:
        raise Died

    name, mark = f"after-call.ec2.{call}", secrets.token_hex(4)
    client.meta.events.register(name, die, unique_id=mark)
    try:
        yield
    finally:
        client.meta.events.unregister(name, unique_id=mark)


def at(port: int) -> Ec2:
    place = Place(region=REGION, endpoint=f"http://127.0.0.1:{port}")
    return Ec2(CONFIG, Ec2Api(place, backoff_s=0.001, read_s=0.2))


async def listed(provider: Ec2 | Guard) -> tuple[Machine, ...]:
    heard = await provider.list()
    assert not isinstance(heard, Fault)
    return heard
