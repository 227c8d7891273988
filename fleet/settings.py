"""Every value that can be set, with its unit and default. Read once, at start."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from fleet.errors import UsageError

DAY_S = 86_400
# Bounded, for an infinity would pass here and fail far away.
Positive = Annotated[float, msgspec.Meta(gt=0, le=DAY_S)]
PREFIX = "FLEET_"
Cloud = Literal["auto", "aws", "gcp", "azure", "none"]
# Read by the parts that need them before any Settings exist.
ELSEWHERE = frozenset(
    {
        "FLEET_NATS_SERVER",
        "FLEET_CACHE",
        "FLEET_TENANT",
        "FLEET_FAULTS",
        "FLEET_SCRIPTED_MISHAPS",
        "FLEET_AZURE_METADATA",
    }
)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`FLEET_<NAME>` sets a field; a typo in the environment fails at start-up, not at 3 a.m.

    nats: URLs, comma-separated; None looks at NATS_* and the nats CLI's contexts. ack_wait_s: how
    long a silent consumer keeps a job. checkpoint_s, checkpoint_items: save when either is reached.
    beat_s, beat_ttl_s: heartbeat of a node. drain_s: what a notice without a deadline leaves: a
    pod's grace period between SIGTERM and SIGKILL. drain_reserve_s: the end of the time left, kept
    for saving and handing over. load_s: how long an engine may take to come up. alive_s: how long
    it may be silent before its jobs' leases lapse; blocked_s: how long the event loop may be
    blocked before they do.
    realtime_deadline_s: for real-time jobs that name none. s3_*: where jobs' inputs may lie beside
    the broker's own store, off without a bucket; an endpoint is for what is not AWS. input_mib: the
    largest input that is read. health_host, health_port: where /livez
    and /readyz answer; off without a port. price_usd_per_hour: of this node, for cost figures;
    instance_type: what a price book knows it by, where it was not told its price. launched_at:
    since when its machine costs money, in seconds since the epoch; without it, since our start.
    cloud: whose metadata service is asked for notices; auto asks all until one answers.
    """

    nats: str | None = None
    node: str | None = None
    zone: str = ""
    ack_wait_s: Positive = 10.0
    checkpoint_s: Positive = 5.0
    checkpoint_items: Annotated[int, msgspec.Meta(ge=1)] = 16
    beat_s: Positive = 1.0
    beat_ttl_s: Positive = 4.0
    drain_s: Annotated[float, msgspec.Meta(ge=0, le=DAY_S)] | None = None
    drain_reserve_s: Annotated[float, msgspec.Meta(ge=0, le=DAY_S)] = 2.0
    load_s: Positive = 1800.0
    alive_s: Positive = 30.0
    blocked_s: Positive = 120.0
    health_host: str = "127.0.0.1"
    health_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] | None = None
    realtime_deadline_s: Positive = 300.0
    s3_bucket: (
        Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")] | None
    ) = None
    s3_prefix: Annotated[
        str,
        msgspec.Meta(pattern=r"^([A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*)?$"),
    ] = "overbook"
    s3_endpoint: Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s/]+/?$")] | None = None
    s3_region: str | None = None
    input_mib: Annotated[float, msgspec.Meta(gt=0, le=1024)] = 64.0
    price_usd_per_hour: Annotated[float, msgspec.Meta(ge=0, le=10_000)] | None = None
    instance_type: Annotated[str, msgspec.Meta(max_length=64)] = ""
    launched_at: Annotated[float, msgspec.Meta(ge=0)] | None = None
    cloud: Cloud = "auto"
    log_format: Literal["text", "json"] = "text"

    def __post_init__(self) -> None:
        if self.beat_s * 2 > self.beat_ttl_s:
            raise ValueError("beat_ttl_s must be at least twice beat_s: one beat may be lost")
        if self.beat_ttl_s >= self.ack_wait_s:
            raise ValueError("beat_ttl_s must be under ack_wait_s, or a dead owner looks alive")

    @classmethod
    def from_env(cls, env: Mapping[str, str], **flags: object) -> "Settings":
        """Take `FLEET_*` from `env`; flags that are not None go before. Raises UsageError."""
        values: dict[str, object] = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in env.items()
            if name.startswith(PREFIX) and name not in ELSEWHERE
        }
        values |= {name: value for name, value in flags.items() if value is not None}
        try:
            return msgspec.convert(values, cls, strict=False)
        except msgspec.ValidationError as error:
            raise UsageError(
                f"settings ({PREFIX}* in the environment, and flags): {error}"
            ) from error
