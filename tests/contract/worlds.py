"""Worlds for providers: who owns machines, and what only the world itself can do to them."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from botocore.awsrequest import AWSResponse

from fleet.broker.provision import provision
from fleet.pool.ec2 import Ec2
from fleet.pool.ec2_api import Ec2Api, Place
from fleet.pool.ec2_forms import Ec2Config
from fleet.pool.guard import Guard
from fleet.pool.local import LocalPool, Plan
from fleet.pool.local_provider import Local
from fleet.pool.provider import Machine, Provider
from fleet.pool.simcloud import SimCloud, SimZone
from tests.integration.brokers import connected
from tests.moto import REGION, TEMPLATE, Moto, ec2_client

TYPES = ("g6.xlarge", "g5.xlarge", "g6e.xlarge")


class World(Protocol):
    """zones: three of them, all open."""

    provider: Provider
    zones: tuple[str, ...]

    async def vanish(self, machine: Machine) -> None:
        """End a machine without asking anybody."""
        ...

    def sell_out(self, zone: str) -> None:
        """Let a zone have no spot machines for whoever asks from now on."""
        ...


class SimWorld:
    zones: tuple[str, ...] = ("a", "b", "c")

    def __init__(self) -> None:
        self.cloud = SimCloud([SimZone(name=name) for name in self.zones], now=time.time)
        self.provider: Provider = self.cloud

    async def vanish(self, machine: Machine) -> None:
        self.cloud.fail(machine.id)

    def sell_out(self, zone: str) -> None:
        self.cloud.offer(SimZone(name=zone, spot=0))


class LocalWorld:
    zones: tuple[str, ...] = ("a", "b", "c")

    def __init__(self, pool: LocalPool) -> None:
        self._pool = pool
        self.local = Local(pool, self.zones)
        self.provider: Provider = self.local

    async def vanish(self, machine: Machine) -> None:
        self._pool.kill(machine.id)
        await self._pool.wait(machine.id)

    def sell_out(self, zone: str) -> None:
        self.local.close(zone)


class Ec2World:
    def __init__(self, moto: Moto, pool: str) -> None:
        self.client = ec2_client(moto.endpoint)
        self.zones = tuple(moto.subnets)
        self.config = Ec2Config(
            pool=pool, template=TEMPLATE, subnets=moto.subnets, instance_types=TYPES
        )
        self._subnets = moto.subnets
        self._sold_out: set[str] = set()
        self.client.meta.events.register("before-call.ec2.CreateFleet", self._answer)
        self.provider: Provider = self.again()

    def again(self) -> Ec2:
        """Make a provider that knows nothing, as a manager does that was started again."""
        place = Place(region=REGION)
        return Ec2(self.config, Ec2Api(place, client=self.client, backoff_s=0.001))

    async def vanish(self, machine: Machine) -> None:
        self.client.terminate_instances(InstanceIds=[machine.id])

    def sell_out(self, zone: str) -> None:
        self._sold_out.add(self._subnets[zone])

    def _answer(self, params: Mapping[str, Any], **_: object) -> object:
        """Answer in the server's place, which never runs out of anything."""
        said = params["body"]
        for key, value in said.items():
            if key.endswith("SubnetId") and value in self._sold_out:
                code = "InsufficientInstanceCapacity"
                refused = {"ErrorCode": code, "ErrorMessage": "There is no Spot capacity."}
                return AWSResponse("", 200, {}, None), {
                    "FleetId": "fleet-1",
                    "Errors": [refused],
                    "Instances": [],
                }
        return None


@asynccontextmanager
async def local_world(nats_url: str, model: str, logs: Path) -> AsyncIterator[LocalWorld]:
    """Run consumers of the scripted engine."""
    async with connected(nats_url) as connection:
        await provision(connection, [model])
    pool = LocalPool(
        Plan(nats=nats_url, model=model, engine="scripted", logs=logs, tag=f"{model}-")
    )
    try:
        yield LocalWorld(pool)
    finally:
        pool.kill_all()
        await pool.stop(wait_s=10.0)


def guarded(world: World) -> World:
    """Put belts around the world's provider."""
    world.provider = Guard(world.provider)
    return world
