"""The verdicts of `fleet doctor`: each failure comes with its remedy."""

import pytest

from fleet.broker.provision import Drift
from fleet.cli.checks import (
    SyncConfig,
    check_api_level,
    check_clock,
    check_sync,
    check_topology,
    check_version,
)


@pytest.mark.parametrize(
    ("version", "state"),
    [
        ("2.12.5", "ok"),
        ("2.15.1", "ok"),
        ("3.0.0-dev", "ok"),
        ("2.12.4", "failed"),
        ("2.9.10", "failed"),
        ("", "unknown"),
    ],
)
def test_servers_that_lose_exhausted_messages_fail(version: str, state: str) -> None:
    check = check_version(version)
    assert check.state == state
    assert bool(check.remedy) == (state != "ok")


@pytest.mark.parametrize(
    ("level", "state"), [(5, "ok"), (2, "ok"), (1, "failed"), (None, "failed")]
)
def test_an_old_jetstream_fails(level: int | None, state: str) -> None:
    assert check_api_level(level).state == state


def test_a_topology_without_drift_is_one_line() -> None:
    (check,) = check_topology([], ["smollm2"])
    assert check.state == "ok"
    assert "smollm2" in check.detail


def test_drift_is_one_line_a_thing_with_all_its_fields() -> None:
    checks = check_topology(
        [
            Drift("TOKENS", "max_age", "1", "2"),
            Drift("TOKENS", "max_bytes", "3", "4"),
            Drift("batch_m", "missing", "present", "missing"),
        ],
        ["m"],
    )
    assert [(check.name, check.state) for check in checks] == [
        ("TOKENS", "failed"),
        ("batch_m", "failed"),
    ]
    assert checks[0].detail == "max_age is 2, not 1; max_bytes is 4, not 3"
    assert "fleet init" in checks[1].remedy


@pytest.mark.parametrize(
    ("sync", "replicas", "state"),
    [
        (None, 1, "unknown"),
        (SyncConfig(sync_always=True), 1, "ok"),
        (SyncConfig(sync_interval=120_000_000_000), 1, "failed"),
        (SyncConfig(sync_interval=120_000_000_000), 3, "ok"),
    ],
)
def test_a_single_server_has_to_write_before_it_confirms(
    sync: SyncConfig | None, replicas: int, state: str
) -> None:
    assert check_sync(sync, replicas=replicas).state == state


@pytest.mark.parametrize(
    ("ahead_s", "state"),
    [(0.1, "ok"), (-1.9, "ok"), (-3600, "failed"), (5, "failed"), (None, "unknown")],
)
def test_a_clock_that_is_off_fails(ahead_s: float | None, state: str) -> None:
    assert check_clock(ahead_s).state == state
