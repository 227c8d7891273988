import pytest

from fleet.errors import UsageError
from fleet.settings import ELSEWHERE, Settings


def test_defaults_are_valid_and_other_variables_are_not_ours() -> None:
    assert Settings.from_env({"PATH": "/bin", "NATS_URL": "nats://h:1"}) == Settings()


def test_the_environment_sets_values_by_name_and_type() -> None:
    settings = Settings.from_env({"FLEET_ACK_WAIT_S": "20", "FLEET_NATS": "nats://h:1"})
    assert (settings.ack_wait_s, settings.nats) == (20.0, "nats://h:1")


def test_a_flag_goes_before_the_environment_and_an_absent_flag_does_not() -> None:
    env = {"FLEET_ZONE": "a", "FLEET_NODE": "n"}
    settings = Settings.from_env(env, zone="b", node=None)
    assert (settings.zone, settings.node) == ("b", "n")


@pytest.mark.parametrize("name", sorted(ELSEWHERE))
def test_names_that_other_parts_read_are_let_through(name: str) -> None:
    assert Settings.from_env({name: "x"}) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ACK_WAITS", "1"),
        ("ACK_WAIT_S", "0"),
        ("ACK_WAIT_S", "inf"),
        ("ACK_WAIT_S", "nan"),
        ("ACK_WAIT_S", "soon"),
        ("CHECKPOINT_ITEMS", "0"),
        ("CHECKPOINT_ITEMS", "1.5"),
        ("DRAIN_S", "-1"),
        ("DRAIN_S", ""),
        ("LOG_FORMAT", "xml"),
        ("PRICE_USD_PER_HOUR", "inf"),
    ],
)
def test_a_typo_or_an_impossible_value_fails_by_name(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=name.lower()):
        Settings.from_env({f"FLEET_{name}": value})


def test_heartbeats_must_leave_room_for_a_lost_one_and_end_before_the_lease() -> None:
    with pytest.raises(UsageError, match="twice"):
        Settings.from_env({"FLEET_BEAT_S": "3"})
    with pytest.raises(UsageError, match="under ack_wait_s"):
        Settings.from_env({"FLEET_BEAT_TTL_S": "10"})


def test_a_wrong_value_is_not_repeated_for_it_may_be_a_secret() -> None:
    with pytest.raises(UsageError) as caught:
        Settings.from_env({"FLEET_ACK_WAIT_S": "nats://u:hunter2@h"})
    assert "hunter2" not in str(caught.value)
