"""Drills: whom they may hit, what they tell nodes, and how what came of it is judged."""

import msgspec
import pytest

from fleet.broker.claims import Held
from fleet.claim import Claim, Saved
from fleet.control import DrainOrder, HurtOrder
from fleet.drill import NOTICES_S, Facts, Kind, Taken, judge, order_of, victims
from fleet.drill_probes import pace
from fleet.errors import NotFound, UsageError
from fleet.job import ResultLine
from fleet.node import Node


def node(name: str, *, capacity_type: str = "spot", **more: object) -> Node:
    fields = {"model": "m", "zone": "a", "state": "ready", **more}
    return msgspec.convert(
        {
            "node": name, "pid": 1, "host": "h", "capacity_type": capacity_type,
            "engine": "scripted", "started_at": 0.0, "at": 0.0, **fields,
        },
        Node,
    )  # fmt: skip


def names(nodes: tuple[Node, ...]) -> list[str]:
    return [one.node for one in nodes]


def test_the_busiest_spot_node_is_hit_where_none_is_named() -> None:
    nodes = [node("idle"), node("busy", items=3), node("od", capacity_type="on-demand", items=9)]
    assert names(victims(nodes, "kill")) == ["busy"]
    assert names(victims(nodes, "kill", node="idle")) == ["idle"]


def test_a_zone_is_hit_as_a_whole_and_on_demand_nodes_only_if_that_is_said() -> None:
    rest = [node("c", zone="b"), node("d", zone="b", capacity_type="on-demand")]
    nodes = [node("a"), node("b"), node("od", capacity_type="on-demand"), *rest]
    assert names(victims(nodes, "zone", zone="a")) == ["a", "b"]
    assert names(victims(nodes, "zone", zone="a", on_demand=True)) == ["a", "b", "od"]


def test_the_broker_is_no_node() -> None:
    assert victims([node("a")], "server") == ()


@pytest.mark.parametrize(
    ("nodes", "asked", "words"),
    [
        ([node("a")], {"node": "a"}, "no other spot node"),
        ([node("a"), node("b", model="n")], {"node": "a"}, "no other spot node"),
        ([node("a"), node("b", state="loading")], {"node": "a"}, "no other spot node"),
        ([node("a"), node("b", capacity_type="on-demand")], {"node": "b"}, "--on-demand"),
        ([node("a", state="draining"), node("b")], {"node": "a"}, "a is draining"),
        ([node("a", capacity_type="on-demand")], {}, "no spot node"),
        ([], {}, "no spot node"),
    ],
)
def test_guard_rails_stand_before_the_harm(
    nodes: list[Node], asked: dict[str, str], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        victims(nodes, "kill", node=asked.get("node"))


def test_a_zone_that_would_leave_nobody_is_not_hit() -> None:
    with pytest.raises(UsageError, match="no other spot node"):
        victims([node("a"), node("b")], "zone", zone="a")


def test_a_node_or_a_zone_that_nobody_knows_is_not_found() -> None:
    with pytest.raises(NotFound, match="'x' is alive"):
        victims([node("a")], "kill", node="x")
    with pytest.raises(NotFound, match="zones with nodes: a, b"):
        victims([node("a"), node("c", zone="b")], "zone", zone="x\n")


def test_each_cloud_gives_its_own_notice_unless_another_time_is_asked_for() -> None:
    told = {kind: order_of(kind, left_s=None, ack_wait_s=10) for kind in NOTICES_S}
    assert {k: o.left_s for k, o in told.items() if isinstance(o, DrainOrder)} == {
        "aws": 120, "gcp": 30, "azure": 30,
    }  # fmt: skip
    order = order_of("aws", left_s=7, ack_wait_s=10)
    assert order == DrainOrder(left_s=7, source="drill", provider="aws")


def test_who_is_frozen_comes_back_when_its_lease_is_over() -> None:
    assert order_of("freeze", left_s=None, ack_wait_s=10) == HurtOrder(how="freeze", for_s=15)
    assert order_of("kill", left_s=None, ack_wait_s=10) == HurtOrder(how="kill")


def taken(after_s: float, *, released: bool = False, unsaved_s: float = 2.0) -> Taken:
    return Taken(job="j", by="b", released=released, after_s=after_s, unsaved_s=unsaved_s, items=4)


def facts(kind: Kind, *who: Taken, **more: object) -> Facts:
    good = Facts(
        kind=kind, nodes=("a",), jobs=2, items=8, lost=0, doubled=0, failed=0, open=0, taken=who,
        pace=10.0, slots=8, ack_wait_s=10.0, checkpoint_s=5.0, price_usd_per_hour=3.6,
    )  # fmt: skip
    return msgspec.structs.replace(good, **more)


def test_a_kill_costs_the_tokens_since_the_last_checkpoint() -> None:
    report = judge(facts("kill", taken(8.0), taken(9.0)))
    assert report.passed
    assert (report.went_on_s, report.tokens_again) == (9.0, 160)
    # 160 tokens at 8 slots of 10 a second are 2 s of a node at 3.6 USD an hour.
    assert report.cost_usd == pytest.approx(0.002)


def test_a_notice_costs_nothing_and_may_need_nobody() -> None:
    report = judge(facts("gcp", taken(0.1, released=True)))
    assert (report.passed, report.tokens_again, report.cost_usd) == (True, 0, 0.0)
    finished = judge(facts("gcp"))
    assert (finished.passed, finished.went_on_s) == (True, None)


def test_a_broker_is_judged_by_the_nodes_that_find_back_to_it() -> None:
    report = judge(facts("server", back_s=1.0, recovered_s=2.0))
    assert (report.passed, report.went_on_s) == (True, 2.0)
    again = judge(facts("server", taken(3.0, unsaved_s=1.0), back_s=2.0, recovered_s=2.0))
    assert (again.passed, again.tokens_again) == (True, 120)
    assert not judge(facts("server", back_s=1.0, recovered_s=None)).passed


def test_who_stood_still_was_paid_for_it() -> None:
    report = judge(facts("freeze", taken(8.0, unsaved_s=0.0), idle_s=20.0))
    assert report.cost_usd == pytest.approx(0.02)
    unpriced = facts("freeze", taken(8.0), price_usd_per_hour=None)
    assert judge(unpriced).cost_usd is None


@pytest.mark.parametrize(
    "bad",
    [
        facts("kill", taken(8.0), lost=1),
        facts("kill", taken(8.0), doubled=1),
        facts("kill", taken(8.0), failed=1),
        facts("kill", taken(8.0), open=1),
        facts("kill", taken(12.5)),
        facts("kill", taken(8.0, unsaved_s=7.0)),
        facts("kill"),
        facts("gcp", taken(0.6, released=True)),
        facts("gcp", taken(0.1)),
        facts("server", back_s=1.0, recovered_s=6.0),
    ],
)
def test_a_promise_that_was_not_kept_fails_the_drill(bad: Facts) -> None:
    report = judge(bad)
    assert not report.passed
    assert [check.name for check in report.checks if not check.passed]


def line(item: int, tokens: int, run_s: float, *, resumed: str = "no") -> ResultLine:
    fleet = {"job": "j", "item": item, "items": 8, "node": "n", "capacity_type": "spot",
             "run_s": run_s, "resumed": resumed}  # fmt: skip
    usage = {"completion_tokens": tokens}
    return msgspec.convert(
        {"id": "j-0", "custom_id": None, "usage": usage, "fleet": fleet}, ResultLine
    )


def test_the_pace_of_an_item_leaves_out_what_another_node_made() -> None:
    claim = Claim(owner="a", writer="w", sha256="s", saved=(Saved(1, (), (7,) * 60),))
    held = {"j": Held(claim=claim, revision=1, age_s=0.0)}
    assert pace([line(0, 100, 10.0)], {}) == 10.0
    assert pace([line(1, 100, 4.0, resumed="exact")], held) == 10.0
    assert pace([line(1, 100, 10.0, resumed="restarted")], held) == 10.0
    assert pace([line(0, 0, 0.0)], held) == 0.0
