"""What the pool manager asks of whoever owns machines, and what may come of it. Pure.

What goes wrong at a provider is no exception: a cloud without capacity is a usual day, and the
decision about it belongs to the policy. So every answer has room for faults.
"""

from collections.abc import Collection
from typing import Final, Literal, Protocol, TypeAlias

import msgspec

from fleet.job import CapacityType

# pending: billed already, and not up yet. stopping: on its way out, perhaps with a notice.
MachineState: TypeAlias = Literal["pending", "running", "stopping", "ended"]
# reclaimed: by the market. terminated: by us, or by a hand. failed: it never came up, or broke.
MachineEnd: TypeAlias = Literal["reclaimed", "terminated", "failed"]

# no_capacity: the zone has none of these machines now. quota: the account may not have more.
# throttled: asked too often. unreachable: no answer, or one that makes no sense; whatever was asked
# may have been done. refused: it will be refused again, until somebody mends what the text names.
# capped: our own limit.
FaultKind: TypeAlias = Literal[
    "no_capacity", "quota", "throttled", "unreachable", "refused", "capped"
]

# Where one launch met several faults, the first of these tells most about the zone.
_WORST_FIRST: Final[tuple[FaultKind, ...]] = (
    "refused", "quota", "no_capacity", "throttled", "unreachable", "capped",
)  # fmt: skip


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """One machine that the pool pays for, or did a moment ago.

    id: what the provider calls it. node: what the consumer on it calls itself in heartbeats, alone
    or with `-` and more behind it. launch: the id of the request that it came from. started_at,
    ended_at: seconds since the epoch; it is billed between them. end, ended_at: only of machines
    that ended, where it is known.
    """

    id: str
    node: str
    capacity_type: CapacityType
    zone: str
    instance_type: str
    state: MachineState
    started_at: float
    launch: str = ""
    end: MachineEnd | None = None
    ended_at: float | None = None

    @property
    def alive(self) -> bool:
        """Whether it can still work, or will."""
        return self.state in {"pending", "running"}


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why something was not done. text: the thing, the cause and the remedy.

    zone: where, None for everywhere. instance_type: of which machines, None for all. code: what the
    provider itself calls it.
    """

    kind: FaultKind
    text: str
    zone: str | None = None
    instance_type: str | None = None
    code: str = ""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request for `count` machines in one zone.

    id: whoever asks twice with the same id gets the same machines: 1 to 64 of [A-Za-z0-9_-].
    instance_types: any of these will do, in order of preference; none leaves it to the provider.
    """

    id: str
    capacity_type: CapacityType
    zone: str
    count: int
    instance_types: tuple[str, ...] = ()


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a launch: machines, faults, or some of each. asked: for how many machines."""

    asked: int
    machines: tuple[Machine, ...] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def shortfall(self) -> Fault | None:
        """The fault that says most about why there are fewer than were asked for."""
        if len(self.machines) >= max(1, self.asked) or not self.faults:
            return None
        return min(self.faults, key=lambda fault: _WORST_FIRST.index(fault.kind))


class Terminated(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a termination. ids: of machines that end now, or had ended before."""

    ids: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()


class Provider(Protocol):
    """Owns machines. Nothing but a fault of the program itself is raised."""

    async def list(self) -> tuple[Machine, ...] | Fault:
        """List the pool's machines, and perhaps some that ended lately.

        A fault says that nothing is known now; it never says that there are no machines.
        """
        ...

    async def launch(self, request: Request) -> Granted:
        """Start machines, as many as there are to be had."""
        ...

    async def terminate(self, ids: Collection[str]) -> Terminated:
        """End machines of this pool. Who has ended or was never there counts as ended."""
        ...
