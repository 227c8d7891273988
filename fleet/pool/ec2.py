"""Machines of EC2's: instant fleets, one request a zone, found again by their tags.

Nothing is remembered here. What carries the pool's tag is the pool's, whoever launched it and
whatever became of them: a manager that dies between a launch and its note of it leaks nothing.
"""

import asyncio
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, TypeGuard

from fleet.errors import UsageError
from fleet.pool.ec2_api import Ec2Api, fault
from fleet.pool.ec2_forms import (
    LAUNCH_TAG,
    POOL_TAG,
    Ec2Config,
    FleetAnswer,
    Instance,
    Pages,
    TerminateAnswer,
    machine,
    wish,
)
from fleet.pool.provider import Fault, Granted, Machine, Request, Terminated

# EC2 takes 1,000 in one call; smaller ones fail for fewer.
_CHUNK: Final = 100
_PAGE: Final = 500
_GONE: Final = "InvalidInstanceID.NotFound"
# Filters know wildcards, and `i-*` is the whole pool.
_INSTANCE_ID: Final = re.compile(r"i-[0-9a-f]{1,17}", re.ASCII)
_LAUNCH_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class Ec2:
    """The provider behind EC2's API."""

    def __init__(
        self, config: Ec2Config, api: Ec2Api, *, now: Callable[[], float] = time.time
    ) -> None:
        if not config.subnets or not config.instance_types:
            raise UsageError(
                f"pool {config.pool} has no subnet or no instance type: name one of each"
            )
        self._config = config
        self._api = api
        self._now = now
        # Two of one id at the same time would both find that nothing was launched yet.
        self._launching = asyncio.Lock()

    async def list(self) -> tuple[Machine, ...] | Fault:
        """List what carries the pool's tag; what ended is listed for about an hour."""
        found = await self._find({})
        return found if isinstance(found, Fault) else tuple(map(machine, found))

    async def launch(self, request: Request) -> Granted:
        """Ask a zone for machines, by one instant fleet."""
        if request.zone not in self._config.subnets:
            return _denied(request, fault("NoSubnet", "the pool has none", zone=request.zone))
        if request.count < 1:
            return _denied(request, fault("NoCount", "for no machine at all", zone=request.zone))
        if not _LAUNCH_ID.fullmatch(request.id):
            return _denied(request, fault("BadLaunchId", "no id of ours", zone=request.zone))
        async with self._launching:
            # The client token holds for a while, and for the same parameters; tags for ever.
            if (known := await self._launched(request)) is not None:
                return known
            granted = await self._ask(request)
            if any(one.kind == "unreachable" for one in granted.faults):
                # It may have been done, and only the answer was lost.
                return await self._launched(request) or granted
            return granted

    async def terminate(self, ids: Collection[str]) -> Terminated:
        """End those of the pool among `ids`; what does not carry its tag is let alone."""
        wanted = sorted(set(ids))
        faults: list[Fault] = []
        ended: list[str] = []
        for start in range(0, len(wanted), _CHUNK):
            done = await self._terminate(wanted[start : start + _CHUNK])
            faults += done.faults
            ended += done.ids
        return Terminated(ids=tuple(ended), faults=tuple(faults))

    async def _launched(self, request: Request) -> Granted | None:
        """Look for what a request brought before; None when it brought nothing."""
        known = await self._find({LAUNCH_TAG: request.id})
        if isinstance(known, Fault):
            return _denied(request, known)
        machines = tuple(map(machine, known))
        return Granted(asked=request.count, machines=machines) if machines else None

    async def _ask(self, request: Request) -> Granted:
        said = wish(self._config, request)
        answer = await self._api.call(
            lambda ec2: ec2.create_fleet(**said),
            FleetAnswer,
            zone=request.zone,
            again=frozenset({"throttled"}),
        )
        if isinstance(answer, Fault):
            return _denied(request, answer)
        now = self._now()
        machines = tuple(
            Machine(
                id=id_, node=id_, capacity_type=request.capacity_type, zone=request.zone,
                instance_type=part.instance_type, state="pending", started_at=now,
                launch=request.id,
            )
            for part in answer.instances
            for id_ in part.instance_ids
        )  # fmt: skip
        told = {
            (one.error_code, one.instance_type): fault(
                one.error_code,
                one.error_message,
                zone=request.zone,
                instance_type=one.instance_type,
            )
            for one in answer.errors
        }
        if not told and len(machines) < request.count:
            told["", None] = fault(
                "UnfulfillableCapacity", "fewer machines, and no word of why", zone=request.zone
            )
        return Granted(asked=request.count, machines=machines, faults=tuple(told.values()))

    async def _terminate(self, ids: Sequence[str]) -> Terminated:
        # Asked for by filter, ids that nobody knows are left out; asked for by id, they are an
        # error that stops the others.
        known = [id_ for id_ in ids if _INSTANCE_ID.fullmatch(id_)]
        found = await self._find({}, known) if known else ()
        if isinstance(found, Fault):
            return Terminated(faults=(found,))
        doomed = [one.id for one in found if one.state.name != "terminated"]
        if doomed:
            answer = await self._end(doomed)
            if isinstance(answer, Fault) and answer.code == _GONE and len(doomed) > 1:
                # One that went in this moment stops the others.
                answers = [await self._end([one]) for one in doomed]
                answer = next((one for one in answers if _hinders(one)), answers[0])
            if _hinders(answer):
                return Terminated(faults=(answer,))
        return Terminated(ids=tuple(ids))

    async def _end(self, ids: Sequence[str]) -> TerminateAnswer | Fault:
        return await self._api.call(
            lambda ec2: ec2.terminate_instances(InstanceIds=ids), TerminateAnswer
        )

    async def _find(
        self, tags: Mapping[str, str], ids: Iterable[str] = ()
    ) -> tuple[Instance, ...] | Fault:
        filters = [
            {"Name": f"tag:{key}", "Values": [value]}
            for key, value in {POOL_TAG: self._config.pool, **tags}.items()
        ]
        if ids:
            filters.append({"Name": "instance-id", "Values": [*ids]})
        pages = await self._api.call(
            lambda ec2: {
                "Pages": [
                    *ec2.get_paginator("describe_instances").paginate(
                        Filters=filters, PaginationConfig={"PageSize": _PAGE}
                    )
                ]
            },
            Pages,
        )
        if isinstance(pages, Fault):
            return pages
        return tuple(
            one for page in pages.pages for part in page.reservations for one in part.instances
        )


def _hinders(answer: TerminateAnswer | Fault) -> TypeGuard[Fault]:
    return isinstance(answer, Fault) and answer.code != _GONE


def _denied(request: Request, fault: Fault) -> Granted:
    return Granted(asked=request.count, faults=(fault,))
