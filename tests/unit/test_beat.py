"""The heartbeat of a node, and its end."""

import pytest

from consumers.beat import Heart, Load
from consumers.meter import Totals
from fleet.broker.nodes import Nodes
from fleet.errors import BrokerRefused, BrokerUnreachable
from fleet.events import AnyEvent, NodeMetered
from fleet.node import Node
from tests.fakes import ME


class Register(Nodes):
    """The nodes that are known to live. error: what every write meets."""

    def __init__(self, error: Exception | None) -> None:
        self.living: dict[str, Node] = {}
        self._error = error

    async def beat(self, node: Node, ttl_s: float) -> None:
        if self._error is not None:
            raise self._error
        self.living[node.node] = node

    async def forget(self, name: str) -> None:
        if self._error is not None:
            raise self._error
        del self.living[name]


def heart_of(nodes: Nodes, events: list[AnyEvent]) -> Heart:
    return Heart(
        me=ME, nodes=nodes, totals=Totals(), load=lambda: Load("ready", 1, 2, 4),
        emit=events.append, beat_s=1.0, ttl_s=4.0,
    )  # fmt: skip


async def test_a_node_is_on_the_list_from_its_first_beat_to_its_end() -> None:
    nodes, events = Register(None), list[AnyEvent]()
    heart = heart_of(nodes, events)
    await heart.beat()
    assert (nodes.living["me"].jobs, nodes.living["me"].items) == (1, 2)
    await heart.stop()
    assert nodes.living == {}
    assert [type(event) for event in events] == [NodeMetered]


@pytest.mark.parametrize("error", [BrokerUnreachable("nobody"), BrokerRefused("no")])
async def test_a_broker_that_takes_no_beat_ends_nobody(error: Exception) -> None:
    events = list[AnyEvent]()
    heart = heart_of(Register(error), events)
    await heart.beat()
    await heart.stop()
    assert [type(event) for event in events] == [NodeMetered]
