"""What `fleet doctor` thinks of what it found. Pure: from facts to verdicts with remedies."""

import re
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from fleet.broker.durables import DurableState
from fleet.broker.provision import MISSING, Drift

# 2.12.3 and 2.12.4 lost exhausted messages of replicated work queues.
MIN_SERVER: Final = (2, 12, 5)
# The level at which atomic batches and `prioritized` pulls exist.
MIN_API_LEVEL: Final = 2
# Deadlines are compared with local clocks; ages of claims are not.
MAX_CLOCK_S: Final = 2.0
SAFE_REPLICAS: Final = 3
NS: Final = 1_000_000_000

State: TypeAlias = Literal["ok", "failed", "unknown"]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One verdict. remedy: "" where nothing needs to be done."""

    name: str
    state: State
    detail: str
    remedy: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All verdicts; what `--json` writes. origin: where the broker's address came from."""

    ok: bool
    origin: str
    checks: list[Check]


class SyncConfig(msgspec.Struct, frozen=True):
    """The part of a server's `/varz` that says when it writes to disk, and how much at most.

    sync_interval: nanoseconds. max_storage: bytes.
    """

    sync_interval: int = 0
    sync_always: bool = False
    max_storage: int = 0


class Stats(msgspec.Struct, frozen=True):
    """The part of a server's `/varz` that says how much it stores. Bytes."""

    storage: int = 0


class _JetStream(msgspec.Struct, frozen=True):
    config: SyncConfig
    stats: Stats = Stats()


class Varz(msgspec.Struct, frozen=True):
    """A server's `/varz`, as far as it matters here."""

    jetstream: _JetStream


def check_version(version: str) -> Check:
    """Judge the server's version."""
    wanted = ".".join(map(str, MIN_SERVER))
    numbers = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    if numbers is None:
        remedy = f"make sure that it is at least {wanted}"
        return Check(name="server", state="unknown", detail=f"{version!r}", remedy=remedy)
    if tuple(map(int, numbers.groups())) < MIN_SERVER:
        remedy = f"run nats-server {wanted} or newer"
        return Check(name="server", state="failed", detail=version, remedy=remedy)
    return Check(name="server", state="ok", detail=version)


def check_api_level(level: int | None) -> Check:
    """Judge JetStream's API level; None where the server does not tell it."""
    if level is None or level < MIN_API_LEVEL:
        remedy = f"level {MIN_API_LEVEL} is needed: run a newer nats-server"
        return Check(name="jetstream", state="failed", detail=f"API level {level}", remedy=remedy)
    return Check(name="jetstream", state="ok", detail=f"API level {level}")


def check_topology(drifts: Sequence[Drift], models: Sequence[str]) -> list[Check]:
    """Give one line for each stream, bucket or durable that differs, or one for all of them."""
    if not drifts:
        detail = f"as it should be for {', '.join(models) or 'no model'}"
        remedy = "" if models else "add a model: `fleet init --model NAME`"
        return [Check(name="topology", state="ok", detail=detail, remedy=remedy)]
    return [_drifted(name, drifts) for name in dict.fromkeys(drift.name for drift in drifts)]


def _drifted(name: str, drifts: Sequence[Drift]) -> Check:
    own = [drift for drift in drifts if drift.name == name]
    if any(drift.field == MISSING for drift in own):
        return Check(name=name, state="failed", detail="missing", remedy="run `fleet init`")
    detail = "; ".join(f"{drift.field} is {drift.found}, not {drift.wanted}" for drift in own)
    remedy = "set it back with `nats stream edit` or `nats consumer edit`, or delete an empty one "
    return Check(name=name, state="failed", detail=detail, remedy=remedy + "and run `fleet init`")


def check_queues(states: Sequence[DurableState]) -> list[Check]:
    """Give one line for each durable that keeps jobs from being delivered, or one for all."""
    checks = [
        Check(name=state.name, state="failed", detail=trouble.detail, remedy=trouble.remedy)
        for state in states
        if (trouble := trouble_of(state)) is not None
    ]
    if checks:
        return checks
    waiting = sum(state.pending for state in states)
    out = sum(state.ack_pending for state in states)
    return [Check(name="queues", state="ok", detail=f"{waiting} jobs wait, {out} are out, stuck 0")]


class Trouble(msgspec.Struct, frozen=True):
    """What keeps a durable's jobs from being delivered, and what helps."""

    detail: str
    remedy: str


def trouble_of(state: DurableState) -> Trouble | None:
    """Say what is wrong with a durable that jobs may wait for."""
    if not state.exists and state.stored:
        return Trouble(
            f"missing, and {state.stored} jobs wait for it",
            f"run `fleet init --model {state.model}`",
        )
    if state.paused_s > 0:
        return Trouble(
            f"paused for {state.paused_s:.0f} s more, {state.pending} jobs wait",
            f"`nats consumer resume {state.stream} {state.name}` ends that",
        )
    if state.stuck:
        return Trouble(
            f"stuck {state.stuck}: stored, and neither waiting nor delivered",
            "`fleet sweep` puts them back in the queue",
        )
    return None


def check_sync(sync: SyncConfig | None, *, replicas: int) -> Check:
    """Judge when a confirmed message is on disk. sync: None where no monitor was asked."""
    if sync is None:
        remedy = "give the server's monitoring address: --monitor http://HOST:8222"
        return Check(name="sync", state="unknown", detail="not asked", remedy=remedy)
    if sync.sync_always:
        return Check(name="sync", state="ok", detail="always: confirmed means on disk")
    detail = f"every {sync.sync_interval / NS:g} s, {replicas} replica(s)"
    if replicas >= SAFE_REPLICAS:
        return Check(name="sync", state="ok", detail=detail)
    remedy = "a power cut loses confirmed jobs: set `sync_interval: always` in `jetstream {}`"
    return Check(name="sync", state="failed", detail=detail, remedy=remedy)


def check_clock(ahead_s: float | None) -> Check:
    """Judge this machine's clock; ahead_s: how far it is ahead of the server's, None if unknown."""
    if ahead_s is None:
        return Check(
            name="clock", state="unknown", detail="no stream to ask", remedy="run `fleet init`"
        )
    detail = f"{ahead_s:+.3f} s against the server"
    if abs(ahead_s) > MAX_CLOCK_S:
        remedy = "deadlines are missed or overrun: set this machine's clock by NTP"
        return Check(name="clock", state="failed", detail=detail, remedy=remedy)
    return Check(name="clock", state="ok", detail=detail)
