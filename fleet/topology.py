"""Streams, durables and buckets as data: the one place that says how the broker is set up.

`config()` gives the JSON that the JetStream API takes. Fields that are left out keep the server's
default, and only the fields that are here are compared when drift is looked for.
"""

from itertools import count
from typing import Literal, TypeAlias

import msgspec

from fleet.job import MIB, Tier
from fleet.subjects import (
    ADVISORIES,
    BATCHES,
    CANCELS,
    CLAIMS,
    DEAD,
    EVENTS,
    NODES,
    PAYLOADS,
    POLICY,
    PRIORITY_GROUP,
    RESULTS,
    TOKENS,
    durable,
    job_stream,
)

Config: TypeAlias = dict[str, object]

NS = 1_000_000_000
MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0
GIB = 1024 * MIB

# JetStream reserves `max_bytes` of every stream against the disk, so these sum to 7 GiB: a laptop
# has that, and an operator with more raises them (drift is reported, never undone).
REALTIME_BYTES = 256 * MIB
BACKGROUND_BYTES = GIB
BATCH_BYTES = 4 * GIB
TOKENS_BYTES = 256 * MIB
EVENTS_BYTES = 512 * MIB
ADVISORIES_BYTES = 32 * MIB
PAYLOADS_BYTES = GIB

# The queue of one (model, tenant). Realtime beyond a thousand waits past any deadline; the others
# stop a loop that submits without end before it fills the stream for every tenant.
REALTIME_QUEUE = 1_000
BACKGROUND_QUEUE = 50_000
BATCH_QUEUE = 200_000

# The least that the server takes. The window is per stream, not per subject: within it the equal
# ids of two tenants would swallow a job. Idempotency is the claim's and the result log's work.
DUPLICATE_WINDOW_S = 0.1

# Twice the longest deadline of a real-time job: what waits is told its end, never just dropped.
REALTIME_AGE_S = 2 * DAY_S
RESULTS_AGE_S = 7 * DAY_S
# A mark is needed until its job has ended, and then no more.
CANCELS_AGE_S = 7 * DAY_S
# A claim outlives the results it guards, and an abandoned one does not stay for ever.
CLAIMS_AGE_S = 14 * DAY_S
BATCHES_AGE_S = 30 * DAY_S
TOKENS_AGE_S = 10 * MINUTE_S
EVENTS_AGE_S = 30 * DAY_S
# As long as results are kept. A job that waits longer for its input finds it gone.
PAYLOADS_AGE_S = 7 * DAY_S
DEAD_AGE_S = 30 * DAY_S
ADVISORIES_AGE_S = 7 * DAY_S
# How long the server tells watchers of an expired key, and readers of a forgotten one.
MARKER_TTL_S = 60.0

# 512 waiting pulls is the default; the next one gets silence when it asked for heartbeats.
MAX_WAITING = 8192
BUCKET_STREAM = "KV_"
OBJECT_STREAM = "OBJ_"


class StreamSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One stream. Ages in seconds (0: for ever), sizes in bytes (-1: no limit of its own).

    queue_limit: messages a subject may hold; more are refused, or replace the oldest in a bucket.
    told_as: the subject under which a message is stored and, once it is, told to who listens there;
    a message that is refused is never heard. lossy: a power cut may take the last moments.
    """

    name: str
    subjects: tuple[str, ...]
    retention: Literal["workqueue", "limits"] = "limits"
    discard: Literal["new", "old"] = "new"
    max_age_s: float = 0.0
    max_bytes: int = -1
    queue_limit: int = -1
    refuse_full_queue: bool = False
    duplicate_window_s: float | None = None
    message_ttl: bool = False
    marker_ttl_s: float = 0.0
    atomic: bool = False
    rollup: bool = False
    deny_delete: bool = False
    told_as: str | None = None
    lossy: bool = False

    def config(self, *, replicas: int = 1) -> Config:
        """Give the stream's JSON. Storage is file, for one server's memory vanishes with it.

        replicas: how many servers keep it. What is lossy lies in their memories where there are
        several: they do not all restart at once, and the server takes no other way to be quick.
        """
        in_memory = self.lossy and replicas > 1
        config: Config = {
            "name": self.name,
            "subjects": list(self.subjects),
            "retention": self.retention,
            "storage": "memory" if in_memory else "file",
            "discard": self.discard,
            "max_age": int(self.max_age_s * NS),
            "max_bytes": self.max_bytes,
            "max_msgs_per_subject": self.queue_limit,
            "discard_new_per_subject": self.refuse_full_queue,
            "allow_direct": True,
            "allow_msg_ttl": self.message_ttl,
            "subject_delete_marker_ttl": int(self.marker_ttl_s * NS),
            "allow_atomic": self.atomic,
            "allow_rollup_hdrs": self.rollup,
            "deny_delete": self.deny_delete,
        }
        if self.duplicate_window_s is not None:
            config["duplicate_window"] = int(self.duplicate_window_s * NS)
        if self.told_as is not None:
            config["subject_transform"] = {"src": self.subjects[0], "dest": _same(self.told_as)}
            config["republish"] = {"src": self.told_as, "dest": _same(self.told_as)}
        if self.lossy and not in_memory:
            config["persist_mode"] = "async"
        if replicas > 1:
            config["num_replicas"] = replicas
        return config


class DurableSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One durable consumer. group: its priority group, for pulls of spot before on-demand."""

    stream: str
    name: str
    filter_subject: str
    ack_wait_s: float
    group: str | None = None

    def config(self) -> Config:
        """Give the durable's JSON. Deliveries are not capped: attempts are counted in the claim."""
        config: Config = {
            "name": self.name,
            "durable_name": self.name,
            "filter_subject": self.filter_subject,
            "deliver_policy": "all",
            "replay_policy": "instant",
            "ack_policy": "explicit",
            "ack_wait": int(self.ack_wait_s * NS),
            "max_deliver": -1,
            "max_ack_pending": -1,
            "max_waiting": MAX_WAITING,
        }
        if self.group is not None:
            config["priority_groups"] = [self.group]
            # `overflow` strands jobs under its threshold; `prioritized` falls back at once.
            config["priority_policy"] = "prioritized"
        return config


def bucket_stream(bucket: str) -> str:
    """Name the stream of a bucket: `KV_claims`."""
    return BUCKET_STREAM + bucket


def bucket_subject(bucket: str, key: str) -> str:
    """Name the subject of a key: `$KV.claims.acme.job-1`. A `key` of `>` means all of them."""
    return f"$KV.{bucket}.{key}"


def object_stream(bucket: str) -> str:
    """Name the stream of an object store: `OBJ_payloads`."""
    return OBJECT_STREAM + bucket


def durables(model: str, *, ack_wait_s: float) -> tuple[DurableSpec, ...]:
    """Give the durables of one model, a tier each."""
    return tuple(
        DurableSpec(
            stream=job_stream(tier),
            name=durable(tier, model),
            filter_subject=f"jobs.{tier}.{model}.*",
            ack_wait_s=ack_wait_s,
            group=PRIORITY_GROUP if tier is Tier.BACKGROUND else None,
        )
        for tier in Tier
    )


def _same(pattern: str) -> str:
    """Write the destination that keeps what a pattern's wildcards stand for, in their order."""
    numbers = count(1)
    return ".".join(
        f"{{{{wildcard({next(numbers)})}}}}" if part == "*" else part for part in pattern.split(".")
    )


def _jobs(tier: Tier, *, max_bytes: int, queue_limit: int, max_age_s: float = 0.0) -> StreamSpec:
    return StreamSpec(
        name=job_stream(tier),
        subjects=(f"jobs.{tier}.*.*",),
        retention="workqueue",
        max_bytes=max_bytes,
        queue_limit=queue_limit,
        refuse_full_queue=True,
        max_age_s=max_age_s,
        duplicate_window_s=DUPLICATE_WINDOW_S,
        atomic=tier is Tier.BATCH,
    )


def _bucket(
    name: str, *, max_age_s: float = 0.0, marker_ttl_s: float = 0.0, rollup: bool = True
) -> StreamSpec:
    return StreamSpec(
        name=bucket_stream(name),
        subjects=(bucket_subject(name, ">"),),
        queue_limit=1,
        max_age_s=max_age_s,
        message_ttl=True,
        marker_ttl_s=marker_ttl_s,
        rollup=rollup,
        deny_delete=True,
    )


STREAMS: tuple[StreamSpec, ...] = (
    _jobs(
        Tier.REALTIME,
        max_bytes=REALTIME_BYTES,
        queue_limit=REALTIME_QUEUE,
        max_age_s=REALTIME_AGE_S,
    ),
    _jobs(Tier.BACKGROUND, max_bytes=BACKGROUND_BYTES, queue_limit=BACKGROUND_QUEUE),
    _jobs(Tier.BATCH, max_bytes=BATCH_BYTES, queue_limit=BATCH_QUEUE),
    # No byte limit: dropping old results would make finished jobs look new, and refusing new ones
    # would stop the fleet. The server's `max_file_store` is the limit.
    StreamSpec(
        name=RESULTS, subjects=("results.*.*.*",), max_age_s=RESULTS_AGE_S, deny_delete=True
    ),
    StreamSpec(
        name=TOKENS,
        # Whoever listens on a stream's own subjects hears what the stream refuses, too.
        subjects=("tell.*.*.*",),
        told_as="tokens.*.*.*",
        discard="old",
        max_age_s=TOKENS_AGE_S,
        max_bytes=TOKENS_BYTES,
        # Readers wait for the write, and with a sync each it takes longer than all else we do.
        lossy=True,
    ),
    StreamSpec(
        name=EVENTS,
        subjects=("events.>",),
        discard="old",
        max_age_s=EVENTS_AGE_S,
        max_bytes=EVENTS_BYTES,
        deny_delete=True,
    ),
    StreamSpec(name=DEAD, subjects=("dead.*.*.*",), max_age_s=DEAD_AGE_S),
    StreamSpec(
        name=ADVISORIES,
        subjects=(
            "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>",
            "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>",
        ),
        discard="old",
        max_age_s=ADVISORIES_AGE_S,
        max_bytes=ADVISORIES_BYTES,
    ),
    _bucket(CLAIMS, max_age_s=CLAIMS_AGE_S),
    _bucket(NODES, marker_ttl_s=MARKER_TTL_S),
    # Tenants write keys of their own here, and a roll-up of theirs would take everybody's.
    _bucket(BATCHES, max_age_s=BATCHES_AGE_S, rollup=False),
    _bucket(CANCELS, max_age_s=CANCELS_AGE_S, rollup=False),
    _bucket(POLICY),
    # An object store as every NATS client knows it: chunks, and what is said of each object.
    StreamSpec(
        name=object_stream(PAYLOADS),
        subjects=(f"$O.{PAYLOADS}.C.>", f"$O.{PAYLOADS}.M.>"),
        max_age_s=PAYLOADS_AGE_S,
        max_bytes=PAYLOADS_BYTES,
        rollup=True,
    ),
)
