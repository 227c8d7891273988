"""What each identity may publish and hear, as data. What is not named here is refused.

The fleet's own processes share the account `CORE`. Whoever may publish anything there can have the
server's answer sent to any subject of that account, whatever permissions say: so tenants, and all
who only look, have accounts of their own and reach the fleet through imports.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

from fleet.job import Tier
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
    RESULTS,
    TOKENS,
    job_stream,
)
from fleet.tenancy.reading import MAX_MESSAGES, own_subjects
from fleet.tenancy.register import Role
from fleet.topology import STREAMS, bucket_stream, bucket_subject, object_stream

CORE: Final = "CORE"
WATCH: Final = "WATCH"
SYSTEM: Final = "SYS"
READS: Final = "reads"
API: Final = "$JS.API"

_JOBS: Final = tuple(job_stream(tier) for tier in Tier)
_BUCKETS: Final = tuple(map(bucket_stream, (CLAIMS, NODES, BATCHES, CANCELS, POLICY)))
_PAYLOADS: Final = object_stream(PAYLOADS)
# Of these everybody who looks at the fleet reads all.
_SEEN: Final = (NODES, BATCHES, POLICY)
_SUBJECTS: Final = {spec.name: spec.subjects for spec in STREAMS}


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """The rights of one identity, its own inbox left out.

    answers: how many messages it may send to whoever asks it something.
    """

    publish: tuple[str, ...]
    subscribe: tuple[str, ...] = ()
    answers: int = 0


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """Something of `CORE` that another account may use.

    kind: `service` for what is sent to us, `stream` for what we say. several: a request may have
    several answers. names: under which the other account has it; () for the same one.
    """

    kind: Literal["service", "stream"]
    subject: str
    several: bool = False
    names: tuple[str, ...] = ()

    @property
    def seen_as(self) -> tuple[str, ...]:
        """The subjects of the other account."""
        return self.names or (self.subject,)


def inbox_prefix(role: Role) -> str:
    """Name the subjects on which an identity alone hears answers."""
    return f"_INBOX_{role}"


def reads_subject(stream: str, tenant: str) -> str:
    """Name where a tenant's reads of a stream are asked for."""
    return f"{READS}.{stream}.{tenant}"


def _direct(*streams: str) -> tuple[str, ...]:
    """Read any message of a stream."""
    return tuple(
        subject
        for stream in streams
        for subject in (f"{API}.DIRECT.GET.{stream}", f"{API}.DIRECT.GET.{stream}.>")
    )


def _into(*streams: str) -> tuple[str, ...]:
    """Store anything in a stream."""
    return tuple(subject for stream in streams for subject in _SUBJECTS[stream])


def _info(*streams: str) -> tuple[str, ...]:
    return tuple(f"{API}.STREAM.INFO.{stream}" for stream in streams)


def _worker(tiers: Iterable[Tier]) -> Grant:
    streams = tuple(job_stream(tier) for tier in tiers)
    read = (RESULTS, TOKENS, *_BUCKETS, _PAYLOADS)
    pulling = (
        subject
        for stream in streams
        for subject in (
            f"{API}.CONSUMER.MSG.NEXT.{stream}.*",
            f"{API}.CONSUMER.INFO.{stream}.*",
            f"$JS.ACK.{stream}.>",
            # The longer form, which names domain and account.
            f"$JS.ACK.*.*.{stream}.>",
        )
    )
    return Grant(
        publish=(
            *pulling,
            *_info(*streams, *read),
            *_direct(*read),
            *_into(RESULTS, TOKENS, DEAD),
            "events.*.*",
            bucket_subject(CLAIMS, "*.*"),
            bucket_subject(NODES, "*"),
            f"$O.{PAYLOADS}.>",
            # A checkpoint that no claim names any more.
            f"{API}.STREAM.PURGE.{_PAYLOADS}",
        ),
        subscribe=("control.*", bucket_subject(CANCELS, ">"), bucket_subject(BATCHES, ">")),
        answers=1,
    )


_LOOKING: Final = (
    f"{API}.INFO",
    f"{API}.STREAM.NAMES",
    f"{API}.STREAM.LIST",
    f"{API}.STREAM.INFO.*",
    f"{API}.CONSUMER.NAMES.*",
    f"{API}.CONSUMER.LIST.*",
    f"{API}.CONSUMER.INFO.*.*",
)
_MANAGER: Final = Grant(
    publish=(
        *_LOOKING,
        *_direct(*_JOBS, EVENTS, *map(bucket_stream, _SEEN)),
        "events.*.*",
        "control.*",
        bucket_subject(POLICY, ">"),
    ),
    subscribe=("events.>", "control.*", bucket_subject(BATCHES, ">")),
    answers=1,
)
_SWEEP: Final = Grant(
    publish=(
        *_LOOKING,
        *_direct(*_JOBS, RESULTS, TOKENS, DEAD, ADVISORIES, *_BUCKETS, _PAYLOADS),
        *(f"{API}.STREAM.MSG.DELETE.{stream}" for stream in _JOBS),
        f"{API}.STREAM.PURGE.{_PAYLOADS}",
        *_into(*_JOBS, RESULTS, DEAD),
        "events.*.*",
        bucket_subject(CLAIMS, "*.*"),
        bucket_subject(BATCHES, "*.*"),
        # A claim of a job that it ends may have a large checkpoint.
        f"$O.{PAYLOADS}.>",
    ),
    subscribe=(f"{READS}.*.*",),
    # A page, and its end.
    answers=MAX_MESSAGES + 1,
)

# What a watcher may ask for: no prompt, no answer, no claim, and nothing that changes anything.
WATCHED: Final[tuple[Export, ...]] = (
    *(Export(kind="service", subject=subject) for subject in _LOOKING),
    *(
        Export(kind="service", subject=subject, several=True)
        for subject in _direct(EVENTS, *map(bucket_stream, _SEEN))
    ),
    Export(kind="stream", subject="events.>"),
    *(Export(kind="stream", subject=bucket_subject(bucket, ">")) for bucket in _SEEN),
)
_WATCHER: Final = Grant(
    publish=tuple(one.subject for one in WATCHED if one.kind == "service"),
    subscribe=tuple(one.subject for one in WATCHED if one.kind == "stream"),
)

GRANTS: Final[Mapping[Role, Grant]] = {
    "operator": Grant(publish=(">",), subscribe=(">",)),
    "manager": _MANAGER,
    "sweep": _SWEEP,
    "on-demand": _worker(Tier),
    "spot": _worker((Tier.BACKGROUND, Tier.BATCH)),
    "dashboard": _WATCHER,
    "metrics": _WATCHER,
    "system": Grant(publish=("$SYS.REQ.>",), subscribe=("$SYS.>",)),
}
ACCOUNT_OF: Final[Mapping[Role, str]] = {
    "operator": CORE,
    "manager": CORE,
    "sweep": CORE,
    "on-demand": CORE,
    "spot": CORE,
    "dashboard": WATCH,
    "metrics": WATCH,
    "system": SYSTEM,
}


def tenant_exports(name: str, *, tiers: Iterable[str], models: Iterable[str]) -> tuple[Export, ...]:
    """Say what one tenant has of the fleet: its jobs in, its results and tokens out.

    A job is published without the tenant, which is stamped into the subject on the way; the long
    name works too, with its own name alone. tiers, models: `*` for any.
    """
    jobs = (_jobs(name, tier, model) for tier in tiers for model in models)
    own = (
        f"{API}.DIRECT.GET.{stream}.{subject}"
        for stream, subject in (
            (RESULTS, f"results.{name}.>"),
            (TOKENS, f"tokens.{name}.>"),
            *(
                (bucket_stream(b), bucket_subject(b, f"{name}.*"))
                for b in (CLAIMS, BATCHES, CANCELS)
            ),
        )
    )
    # Which models are served, and nothing else.
    named = (f"{API}.CONSUMER.NAMES.{stream}" for stream in _JOBS)
    written = (bucket_subject(bucket, f"{name}.*") for bucket in (BATCHES, CANCELS))
    asked = (
        Export(
            kind="service",
            subject=reads_subject(stream, name),
            several=True,
            names=(f"{API}.DIRECT.GET.{stream}",),
        )
        for stream in own_subjects(name)
    )
    heard = ("results", "tokens")
    return (
        *jobs,
        *(Export(kind="service", subject=subject) for subject in (*own, *named, *written)),
        *asked,
        *(Export(kind="stream", subject=f"{what}.{name}.>") for what in heard),
    )


def _jobs(tenant: str, tier: str, model: str) -> Export:
    places = iter(("{{wildcard(1)}}", "{{wildcard(2)}}"))
    short = ".".join(next(places) if part == "*" else part for part in (tier, model))
    subject = f"jobs.{tier}.{model}.{tenant}"
    return Export(kind="service", subject=subject, names=(f"jobs.{short}", subject))
