"""What is said to EC2, and what it says, as structs. Pure."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, TypeAlias

import msgspec

from fleet.job import CapacityType
from fleet.pool.provider import Machine, MachineEnd, MachineState, Request

POOL_TAG: Final = "overbook:pool"
LAUNCH_TAG: Final = "overbook:launch-id"
# EC2 marks spot only, and a reader of the bill wants to see both.
CAPACITY_TAG: Final = "overbook:capacity-type"

# `User initiated (2026-11-25 22:03:58 GMT)`: the only place where the end's time stands.
_SINCE: Final = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)")
_STATES: Final[Mapping[str, MachineState]] = {
    "pending": "pending",
    "running": "running",
    "terminated": "ended",
}
_RECLAIMED: Final = frozenset({"Server.SpotInstanceShutdown", "Server.SpotInstanceTermination"})
_BY_HAND: Final = frozenset(
    {
        "Client.InstanceInitiatedShutdown", "Client.UserInitiatedShutdown",
        "Server.ScheduledStop", "User.Initiated",
    }
)  # fmt: skip

Name: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class Ec2Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One pool of machines.

    template: name of the launch template, which says image, profile and user data; its unit has to
    start the consumer with FLEET_NODE as the instance's id, `-` and what is new with each start.
    template_version: a number, `$Latest` or `$Default`. subnets: one for each zone. instance_types:
    in order of preference; three or more give the zone a choice.
    """

    pool: Name
    template: Annotated[str, msgspec.Meta(min_length=3, max_length=128)]
    subnets: Annotated[dict[str, str], msgspec.Meta(min_length=1)]
    instance_types: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    template_version: str = "$Default"


class _Form(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Fields as EC2 writes them; what else it writes is not read."""


class Named(_Form, frozen=True, kw_only=True):
    """The state of an instance."""

    name: str


class Reason(_Form, frozen=True, kw_only=True):
    """Why it is in that state."""

    code: str = ""


class Placement(_Form, frozen=True, kw_only=True):
    """Where it is."""

    availability_zone: str = ""


class Tag(_Form, frozen=True, kw_only=True):
    """One of its tags."""

    key: str
    value: str


class Instance(_Form, frozen=True, kw_only=True):
    """One instance, as it is described."""

    id: str = msgspec.field(name="InstanceId")
    instance_type: str
    launch_time: datetime
    state: Named
    placement: Placement = Placement()
    state_reason: Reason = Reason()
    state_transition_reason: str = ""
    instance_lifecycle: str = ""
    tags: tuple[Tag, ...] = ()


class Reservation(_Form, frozen=True, kw_only=True):
    """Instances that were launched together."""

    instances: tuple[Instance, ...] = ()


class Page(_Form, frozen=True, kw_only=True):
    """One page of descriptions. It has to be there: an empty answer is not an empty pool."""

    reservations: tuple[Reservation, ...]


class Pages(_Form, frozen=True, kw_only=True):
    """All of them."""

    pages: tuple[Page, ...]


class FleetInstances(_Form, frozen=True, kw_only=True):
    """Instances of one type that a fleet launched."""

    instance_ids: tuple[str, ...] = ()
    instance_type: str = ""


class Override(_Form, frozen=True, kw_only=True):
    """Which of the choices an error is about."""

    instance_type: str | None = None


class Tried(_Form, frozen=True, kw_only=True):
    """What was tried when an error came."""

    overrides: Override = Override()


class FleetError(_Form, frozen=True, kw_only=True):
    """Why some of a fleet was not launched."""

    error_code: str = ""
    error_message: str = ""
    launch_template_and_overrides: Tried = Tried()

    @property
    def instance_type(self) -> str | None:
        """Of which machines there were none."""
        return self.launch_template_and_overrides.overrides.instance_type


class FleetAnswer(_Form, frozen=True, kw_only=True):
    """What came of a fleet: both lists may have entries."""

    fleet_id: str
    instances: tuple[FleetInstances, ...] = ()
    errors: tuple[FleetError, ...] = ()


class Ending(_Form, frozen=True, kw_only=True):
    """One that ends now."""

    instance_id: str


class TerminateAnswer(_Form, frozen=True, kw_only=True):
    """That it was heard; what is on its way out is described soon enough."""

    terminating_instances: tuple[Ending, ...]


def wish(config: Ec2Config, request: Request) -> dict[str, object]:
    """Write a request for an instant fleet in the zone's subnet.

    It names no price: AWS says that one makes reclaims more frequent.
    """
    spot = request.capacity_type == "spot"
    overrides: list[dict[str, object]] = [
        {"InstanceType": one, "SubnetId": config.subnets[request.zone]}
        | ({} if spot else {"Priority": float(rank)})
        for rank, one in enumerate(request.instance_types or config.instance_types)
    ]
    options: dict[str, object] = (
        {"SpotOptions": {"AllocationStrategy": "price-capacity-optimized"}}
        if spot
        else {"OnDemandOptions": {"AllocationStrategy": "prioritized"}}
    )
    tags = {
        "Name": f"overbook-{config.pool}",
        POOL_TAG: config.pool,
        LAUNCH_TAG: request.id,
        CAPACITY_TAG: request.capacity_type,
    }
    return options | {
        "Type": "instant",
        "ClientToken": request.id,
        "LaunchTemplateConfigs": [
            {
                "LaunchTemplateSpecification": {
                    "LaunchTemplateName": config.template,
                    "Version": config.template_version,
                },
                "Overrides": overrides,
            }
        ],
        "TargetCapacitySpecification": {
            "TotalTargetCapacity": request.count,
            "SpotTargetCapacity": request.count if spot else 0,
            "OnDemandTargetCapacity": 0 if spot else request.count,
            "DefaultTargetCapacityType": request.capacity_type,
        },
        # Tagged as they are launched, so that none is ever without.
        "TagSpecifications": [
            {
                "ResourceType": "instance",
                "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
            }
        ],
    }


def machine(one: Instance) -> Machine:
    """Read an instance as a machine. A state that is not known is one on the way out."""
    state = _STATES.get(one.state.name, "stopping")
    tags = {tag.key: tag.value for tag in one.tags}
    capacity_type: CapacityType = "spot" if one.instance_lifecycle == "spot" else "on-demand"
    return Machine(
        id=one.id,
        node=one.id,
        capacity_type=capacity_type,
        zone=one.placement.availability_zone,
        instance_type=one.instance_type,
        state=state,
        started_at=one.launch_time.timestamp(),
        launch=tags.get(LAUNCH_TAG, ""),
        end=_end(state, one.state_reason.code),
        ended_at=_since(one.state_transition_reason) if state == "ended" else None,
    )


def _end(state: MachineState, code: str) -> MachineEnd | None:
    if code in _RECLAIMED and state in {"stopping", "ended"}:
        return "reclaimed"
    if state != "ended":
        return None
    return "terminated" if code in _BY_HAND or not code else "failed"


def _since(text: str) -> float | None:
    found = _SINCE.search(text)
    if found is None:
        return None
    try:
        return datetime.strptime(f"{found[1]} +0000", "%Y-%m-%d %H:%M:%S %z").timestamp()
    except ValueError:
        return None
