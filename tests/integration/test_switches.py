"""The keys by which operators and the manager tell each other things."""

import pytest

from fleet.broker.connection import Connection
from fleet.errors import CorruptRecord
from fleet.pool.knobs import Knobs
from fleet.pool.switches import Switches
from fleet.topology import bucket_subject


async def test_knobs_that_nobody_can_read_are_set_anew(
    provisioned: Connection, unique: str
) -> None:
    switches = Switches(provisioned, unique)
    subject = bucket_subject("policy", f"knobs.{unique}")
    await provisioned.append(subject, b'{"knob_of_a_later_version": 1}')
    with pytest.raises(CorruptRecord):
        await switches.knobs()
    runs_with = Knobs(baseline=2)
    made = await switches.set({"most_spot": "3"}, otherwise=runs_with)
    assert (made.baseline, made.most_spot) == (2, 3)
    assert await switches.knobs() == made
