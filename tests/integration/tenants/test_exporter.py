"""The exporter's identity reads all that it tells, and nothing more is needed."""

import time
from collections.abc import Mapping

from fleet.broker.connection import Connection
from fleet.broker.nodes import Nodes
from fleet.pool.surveyor import Surveyor
from fleet.prices import DAY_S, PriceBook
from tests.expositions import look


async def test_the_least_of_rights_suffices_for_all_numbers(
    everybody: Mapping[str, Connection],
) -> None:
    async def unknown() -> None:
        return None

    await Nodes(everybody["@operator"]).beat(look().node, ttl_s=60)
    surveyor = Surveyor(
        everybody["@metrics"],
        ack_wait_s=10.0,
        monitor=unknown,
        book=PriceBook({}, dated=time.time()),
        window_s=DAY_S,
        cost_every_s=60.0,
    )
    survey = await surveyor.look()
    assert survey.unread == ()
    assert survey.queues
    assert survey.nodes
    assert survey.cost
    assert survey.broker
    assert survey.broker.drift == 0
