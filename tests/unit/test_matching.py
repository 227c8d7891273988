"""Machines and heartbeats together."""

import msgspec
import pytest

from fleet.node import NodeState
from fleet.pool.matching import drained, match, members, reclaimed, told, victims
from fleet.pool.provider import Fault, FaultKind, Granted, MachineState
from fleet.pool.snapshot import Launched, LaunchFailed, Reclaimed
from tests.machines import machine, node


def test_a_machine_is_known_by_its_nodes_name_or_by_what_stands_before_a_dash() -> None:
    machines = [machine("i-1"), machine("i-2"), machine("i-22")]
    nodes = [node("i-1"), node("i-22-x-y"), node("i-3"), node("other")]
    assert {id_: one.node for id_, one in match(machines, nodes).items()} == {
        "i-1": "i-1",
        "i-22": "i-22-x-y",
    }


def test_of_two_consumers_on_a_machine_the_last_to_beat_counts() -> None:
    nodes = [node("i-1-a", at=1.0), node("i-1-b", "loading", at=2.0)]
    assert match([machine("i-1")], nodes)["i-1"].node == "i-1-b"
    assert match([machine("i-1")], reversed(nodes))["i-1"].node == "i-1-b"


@pytest.mark.parametrize(
    ("state", "beat", "phase"),
    [
        ("pending", None, "starting"),
        ("running", None, "starting"),
        ("running", "loading", "starting"),
        ("running", "ready", "ready"),
        ("running", "draining", "leaving"),
        ("running", "drained", "leaving"),
        ("stopping", "ready", "leaving"),
        ("stopping", None, "leaving"),
    ],
)
def test_a_member_does_what_machine_and_heartbeat_say(
    state: MachineState, beat: NodeState | None, phase: str
) -> None:
    nodes = [node("i-1", beat)] if beat else []
    [member] = members([machine("i-1", state=state)], nodes)
    assert member.phase == phase


def test_a_machine_that_ended_is_no_member_although_its_node_still_beats() -> None:
    assert members([machine("i-1", state="ended")], [node("i-1")]) == ()


def test_an_idle_member_is_ready_and_holds_nothing() -> None:
    machines = [machine(name) for name in ("i-1", "i-2", "i-3", "i-4")]
    nodes = [node("i-1"), node("i-2", items=3), node("i-3", "drained")]
    assert [one.idle for one in members(machines, nodes)] == [True, False, False, False]


def test_who_starts_goes_first_then_the_idle_then_who_has_the_least() -> None:
    machines = [machine(f"i-{n}", started_at=float(n)) for n in range(1, 7)]
    nodes = [node("i-1", items=5), node("i-2", items=1), node("i-3"), node("i-4", "loading")]

    def chosen(count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        found = victims(machines, nodes, capacity_type="spot", zone="a", count=count)
        return found.end, found.drain

    assert chosen(0) == ((), ())
    assert chosen(-3) == ((), ())
    assert chosen(2) == (("i-6", "i-5"), ())
    assert chosen(4) == (("i-6", "i-5", "i-4"), ("i-3",))
    assert chosen(5) == (("i-6", "i-5", "i-4"), ("i-3", "i-2"))
    assert chosen(99) == (("i-6", "i-5", "i-4"), ("i-3", "i-2", "i-1"))


def test_no_machine_whose_node_may_hold_a_job_is_ended_at_once() -> None:
    states: list[NodeState | None] = [None, "loading", "ready", "draining", "drained"]
    machines = [machine(f"i-{n}") for n in range(len(states))]
    nodes = [node(f"i-{n}", state) for n, state in enumerate(states) if state]
    found = victims(machines, nodes, capacity_type="spot", zone="a", count=99)
    assert set(found.end) == {"i-0", "i-1"}
    assert found.drain == ("i-2",)


def test_only_the_zone_and_the_capacity_type_that_were_named_give_machines_back() -> None:
    machines = [
        machine("i-1", zone="b"),
        machine("i-2", capacity_type="on-demand"),
        machine("i-3"),
        machine("i-4", state="stopping"),
        machine("i-5", state="ended"),
    ]
    assert victims(machines, [], capacity_type="spot", zone="a", count=9).end == ("i-3",)


def test_who_has_handed_over_everything_may_be_ended() -> None:
    machines = [machine("i-1"), machine("i-2"), machine("i-3", state="ended")]
    nodes = [node("i-1", "drained"), node("i-2", "draining"), node("i-3", "drained")]
    assert drained(machines, nodes) == ("i-1",)


@pytest.mark.parametrize(
    ("kind", "refusal"),
    [
        ("no_capacity", "capacity"),
        ("quota", "quota"),
        ("throttled", "throttled"),
        ("unreachable", "throttled"),
        ("refused", "other"),
    ],
)
def test_the_policy_hears_why_a_zone_gave_less(kind: FaultKind, refusal: str) -> None:
    granted = Granted(asked=2, machines=(machine("i-1"),), faults=(Fault(kind=kind, text="x"),))
    [heard] = told(granted, 5.0, zone="a", capacity_type="spot")
    assert isinstance(heard, LaunchFailed)
    assert (heard.refusal, heard.zone, heard.at) == (refusal, "a", 5.0)


def test_the_policy_hears_of_no_fault_where_all_were_launched() -> None:
    some = Fault(kind="no_capacity", text="one type was sold out", instance_type="t")
    granted = Granted(asked=1, machines=(machine("i-1"),), faults=(some,))
    assert told(granted, 5.0, zone="a", capacity_type="spot") == (
        Launched(zone="a", at=5.0, capacity_type="spot"),
    )


def test_our_own_cap_cools_no_zone() -> None:
    capped = Fault(kind="capped", text="x")
    cut = Granted(asked=50, machines=(machine("i-1"),), faults=(capped,))
    none = Granted(asked=50, faults=(capped,))
    assert [type(one) for one in told(cut, 5.0, zone="a", capacity_type="spot")] == [Launched]
    assert told(none, 5.0, zone="a", capacity_type="spot") == ()


def test_reclaims_are_counted_once_and_by_zone() -> None:
    before = [machine("i-1"), machine("i-2"), machine("i-3", zone="b"), machine("i-4")]
    before += [machine("i-5", capacity_type="on-demand")]
    gone = [
        msgspec.structs.replace(one, state="stopping" if n else "ended", end="reclaimed")
        for n, one in enumerate(before[:3])
    ]
    by_us = msgspec.structs.replace(before[3], state="ended", end="terminated")
    after = [*gone, by_us, msgspec.structs.replace(before[4], state="ended", end="reclaimed")]
    assert reclaimed(before, after, 5.0) == (
        Reclaimed(zone="a", at=5.0, count=2),
        Reclaimed(zone="b", at=5.0, count=1),
    )
    assert reclaimed(after, after, 6.0) == ()
