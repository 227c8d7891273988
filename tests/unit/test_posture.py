"""Which work a consumer asks for, and how much of it beside real time."""

import pytest

from consumers.posture import intents
from fleet.job import Tier


@pytest.mark.parametrize("slots", [1, 2, 7, 32, 256])
def test_spot_never_asks_for_real_time(slots: int) -> None:
    assert {one.tier for one in intents("spot", slots)} == {Tier.BACKGROUND, Tier.BATCH}


@pytest.mark.parametrize("slots", [2, 7, 32, 256])
def test_beside_real_time_there_is_room_for_half_in_the_background_and_a_quarter_in_batches(
    slots: int,
) -> None:
    room = {one.tier: one.slots for one in intents("on-demand", slots)}
    assert room[Tier.REALTIME] == slots
    assert room[Tier.BACKGROUND] <= slots / 2
    assert room[Tier.BATCH] <= max(1, slots / 4 + 1)


def test_a_background_job_goes_to_spot_first_and_batches_wait_for_a_word_of_the_manager() -> None:
    spot, on_demand = (
        {one.tier: one for one in intents(kind, 32)} for kind in ("spot", "on-demand")
    )
    assert spot[Tier.BACKGROUND].priority == 0
    assert on_demand[Tier.BACKGROUND].priority == 1
    assert on_demand[Tier.BATCH].fallback
    assert not spot[Tier.BATCH].fallback
