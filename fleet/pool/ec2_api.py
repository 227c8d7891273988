"""Calls of EC2 by boto3, in threads: tried again where that is safe, and bounded."""

import asyncio
import random
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeVar

import msgspec

from fleet.boto import BotoClient
from fleet.pool.provider import Fault, FaultKind

TRIES: Final = 3
BACKOFF_S: Final = 1.0
READ_S: Final = 30.0

# EC2's own names. Codes go before the status: it says "no capacity" with status 500.
_NO_CAPACITY: Final = frozenset(
    {
        "InsufficientCapacity", "InsufficientFreeAddressesInSubnet", "InsufficientHostCapacity",
        "InsufficientInstanceCapacity", "InsufficientReservedInstanceCapacity",
        # Its own cap is the on-demand price; we name none.
        "SpotMaxPriceTooLow",
        "UnfulfillableCapacity",
        # The zone does not sell this type at all.
        "Unsupported",
    }
)  # fmt: skip
_QUOTA: Final = frozenset(
    {
        "FleetCountExceeded", "InstanceLimitExceeded", "MaxSpotFleetRequestCountExceeded",
        "MaxSpotInstanceCountExceeded", "SpotInstanceCountExceeded", "VcpuLimitExceeded",
        "VolumeLimitExceeded",
    }
)  # fmt: skip
_THROTTLED: Final = frozenset(
    {
        "EC2ThrottledException", "RequestLimitExceeded", "RequestThrottled", "SlowDown",
        "Throttling", "ThrottlingException", "TooManyRequestsException",
    }
)  # fmt: skip
_UNREACHABLE: Final = frozenset(
    {"InternalError", "InternalFailure", "RequestExpired", "ServiceUnavailable", "Unavailable"}
)
_REMEDY: Final[Mapping[FaultKind, str]] = {
    "no_capacity": "other zones or machine types may have some",
    "quota": "end machines, or ask AWS to raise the quota",
    "throttled": "ask less often",
    "unreachable": "check the network and AWS's health page",
    "refused": "check the credentials' permissions and the pool's settings",
    "capped": "",
}
_TOO_MANY, _SERVER_FAULT = 429, 500
AGAIN: Final[AbstractSet[FaultKind]] = frozenset({"throttled", "unreachable"})

T = TypeVar("T")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the API answers. endpoint: URL of what is not AWS, None for AWS."""

    region: str
    endpoint: str | None = None


class Ec2Api:
    """Makes calls of EC2's. Credentials come by boto3's own chain, and only by it.

    client: made already, for tests that answer in AWS's place.
    """

    def __init__(
        self,
        place: Place,
        *,
        client: Any = None,
        backoff_s: float = BACKOFF_S,
        read_s: float = READ_S,
    ) -> None:
        self._place = place
        self._backoff_s = backoff_s
        self._client = BotoClient(
            "ec2",
            region=place.region,
            endpoint=place.endpoint,
            read_s=read_s,
            check="region and endpoint",
            made=client,
        )

    async def call(
        self,
        action: Callable[[Any], Any],
        form: type[T],
        *,
        zone: str = "",
        again: AbstractSet[FaultKind] = AGAIN,
    ) -> T | Fault:
        """Run `action` on a client, in a thread, and read its answer as `form`.

        again: the kinds of fault behind which it is tried again, so it has to bear being done
        twice. A thread that was given up on ends by its own time-outs. Raises UsageError where
        boto3 is missing or cannot be set up.
        """
        client = await self._client.get()
        for attempt in range(TRIES):
            answer = await asyncio.to_thread(self._once, lambda: action(client), form, zone)
            if not isinstance(answer, Fault) or answer.kind not in again or attempt == TRIES - 1:
                return answer
            await asyncio.sleep(self._backoff_s * 2**attempt * random.uniform(0.5, 1.5))
        raise AssertionError("unreachable: the last try returns")

    def _once(self, action: Callable[[], Any], form: type[T], zone: str) -> T | Fault:
        from botocore import exceptions
        from botocore.parsers import ResponseParserError

        try:
            return msgspec.convert(action(), form, strict=False)
        except exceptions.ClientError as error:
            said = error.response.get("Error", {})
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return fault(str(said.get("Code", "")), str(said.get("Message", "")), status, zone=zone)
        except msgspec.ValidationError as error:
            return fault("InternalError", f"an answer of another form: {error}", zone=zone)
        except (
            exceptions.NoCredentialsError,
            exceptions.PartialCredentialsError,
            exceptions.CredentialRetrievalError,
            exceptions.ParamValidationError,
        ) as error:
            return fault(type(error).__name__, str(error), zone=zone)
        # The parser's error is none of botocore's own.
        except (exceptions.BotoCoreError, ResponseParserError, OSError) as error:
            where = self._place.endpoint or f"EC2 in {self._place.region}"
            return fault("Unavailable", f"no answer from {where}: {error}", zone=zone)


def fault(
    code: str, message: str, status: int = 0, *, zone: str = "", instance_type: str | None = None
) -> Fault:
    """Say in our words what EC2 says in its own."""
    kind = _kind(code, status)
    where = " of ".join(part for part in (instance_type, zone and f"zone {zone}") if part) or "EC2"
    return Fault(
        kind=kind,
        zone=zone or None,
        instance_type=instance_type,
        text=f"{where}: {code or status}: {message.strip() or 'no word of why'}: {_REMEDY[kind]}",
        code=code,
    )


def _kind(code: str, status: int) -> FaultKind:
    named: tuple[tuple[frozenset[str], FaultKind], ...] = (
        (_NO_CAPACITY, "no_capacity"),
        (_QUOTA, "quota"),
        (_THROTTLED, "throttled"),
        (_UNREACHABLE, "unreachable"),
    )
    for codes, kind in named:
        if code in codes:
            return kind
    if status == _TOO_MANY:
        return "throttled"
    return "unreachable" if status >= _SERVER_FAULT else "refused"
