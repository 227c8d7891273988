"""Work that nobody can size yet: what is paid for anyway finds out, and a node in good time."""

from fleet.pool.decision import Memory
from fleet.pool.policy import decide
from fleet.pool.snapshot import Load
from tests.scenes import HOUR, KNOBS, NOW, snapshot, work


def test_on_demand_nodes_that_idle_measure_a_pace_while_no_spot_is_there() -> None:
    new = work(node_h=1, due_in_h=20, item_s=None)
    idle = decide(snapshot(new, load=Load(busy=0.0, spare=0.5)), KNOBS, Memory())
    assert (idle.batch_fallback, idle.fallback) == (True, 0)
    busy = decide(snapshot(new, load=Load(busy=2.0, spare=0.0)), KNOBS, Memory())
    assert not busy.batch_fallback


def test_a_node_is_bought_to_measure_a_pace_when_half_of_the_window_is_over() -> None:
    early = work(node_h=1, due_in_h=20, item_s=None, submitted_at=NOW - 18 * HOUR)
    assert decide(snapshot(early), KNOBS, Memory()).fallback == 0
    late = work(node_h=1, due_in_h=20, item_s=None, submitted_at=NOW - 22 * HOUR)
    assert decide(snapshot(late), KNOBS, Memory()).fallback == 1
