"""Pools of EC2's whose managers die, whose line breaks, and whose answers are no answers."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from fleet.pool.ec2 import Ec2
from fleet.pool.ec2_api import TRIES, Ec2Api, Place
from fleet.pool.ec2_forms import Ec2Config
from fleet.pool.guard import Guard
from fleet.pool.provider import Fault, Machine, Request
from fleet.pool.reaper import Patience, Reaper
from tests.contract.worlds import TYPES, Ec2World
from tests.moto import REGION, Moto

CONFIG = Ec2Config(
    pool="p", template="nodes", subnets={"us-east-1a": "subnet-1"}, instance_types=TYPES
)


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
