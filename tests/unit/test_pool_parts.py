"""Small parts of the pool manager: reclaims as measured, prices, pods, knobs in words."""

from collections.abc import Sequence

import pytest

from fleet.cli.pool import command
from fleet.errors import UsageError
from fleet.exits import run_command
from fleet.job import CapacityType
from fleet.node import Node, NodeState
from fleet.pool.decision import Decision, Figures, Memory
from fleet.pool.knobs import Knobs
from fleet.pool.kubernetes import Board
from fleet.pool.local import LocalNode
from fleet.pool.local_provider import Local
from fleet.pool.pods import Pods
from fleet.pool.provider import Fault, Machine, Request
from fleet.pool.quotes import BookQuotes
from fleet.pool.reclaims import Reclaims
from fleet.pool.snapshot import BecameReady, Member, Reclaimed
from fleet.pool.spot_prices import SpotHistory, SpotPrice
from fleet.pool.switches import changed
from fleet.prices import read_book

BOOK = """
dated = 2026-11-01
[[price]]
instance_type = "x"
capacity_type = "on-demand"
usd_per_hour = 4.0
[[price]]
instance_type = "y"
capacity_type = "on-demand"
usd_per_hour = 5.0
[[price]]
instance_type = "x"
capacity_type = "spot"
usd_per_hour = 1.0
"""


def spot(count: int) -> list[Member]:
    return [Member(name=f"s{n}", zone="a", capacity_type="spot", phase="ready")
            for n in range(count)]  # fmt: skip


def test_reclaims_are_measured_by_node_hours_and_each_is_counted_once() -> None:
    reclaims = Reclaims()
    lost = Reclaimed(zone="a", at=100.0)
    for step in range(49):
        # Told in two looks, as one is that the policy has not taken in yet.
        happened = [lost] if step in {10, 11} else []
        reclaims.saw(spot(4), happened, now=step * 600.0)
    assert reclaims.per_hour("a") == pytest.approx(1 / 32, rel=0.1)
    assert reclaims.per_hour("b") == 0


def test_a_zone_is_not_judged_by_a_moment_nor_by_a_clock_that_jumps() -> None:
    reclaims = Reclaims()
    reclaims.saw(spot(1), [], now=0.0)
    reclaims.saw(spot(1), [Reclaimed(zone="a", at=60.0)], now=600.0)
    assert reclaims.per_hour("a") == 0
    reclaims.saw(spot(1), [], now=1e9)
    assert reclaims.per_hour("a") == 0


def test_reclaims_from_before_anybody_looked_are_not_set_against_the_hours_behind_them() -> None:
    reclaims = Reclaims()
    # As events tell of the week in which another manager led.
    told = [Reclaimed(zone="a", at=float(at)) for at in range(100)]
    reclaims.saw(spot(4), told, now=1000.0)
    for step in range(1, 13):
        reclaims.saw(spot(4), [], now=1000.0 + step * 600.0)
    assert reclaims.per_hour("a") == 0
    # As it led itself, stood by for an hour, and leads again.
    again = 1000.0 + 12 * 600.0 + 3600.0
    reclaims.saw(spot(4), [Reclaimed(zone="a", at=again - 60.0)], now=again)
    assert reclaims.per_hour("a") == 0
    reclaims.saw(spot(4), [Reclaimed(zone="a", at=again + 60.0)], now=again + 600.0)
    assert reclaims.per_hour("a") == pytest.approx(1 / 8.6, rel=0.1)


class Market:
    def __init__(self, answer: SpotHistory | Fault) -> None:
        self.answer = answer
        self.asked = 0

    async def history(self, instance_types: object, zones: object = ()) -> SpotHistory | Fault:
        self.asked += 1
        return self.answer


async def test_the_market_goes_before_the_book_and_is_asked_now_and_then() -> None:
    quote = SpotPrice(zone="a", instance_type="x", usd_per_hour=2.5, at=50.0)
    market, at = Market(SpotHistory(prices=(quote,))), [1000.0]
    quotes = BookQuotes(
        read_book(BOOK, name="b"), ["x", "y"], market, now=lambda: at[0], clock=lambda: at[0]
    )
    prices = await quotes.of(["a", "b"])
    # Any of the types may come, so the dearest is planned with.
    assert prices["a"].spot_usd == 2.5
    assert (prices["b"].spot_usd, prices["b"].on_demand_usd) == (1.0, 5.0)
    await quotes.of(["a", "b"])
    assert market.asked == 1
    at[0] += 400.0
    await quotes.of(["a", "b"])
    assert market.asked == 2


async def test_a_market_that_does_not_answer_leaves_the_book() -> None:
    market = Market(Fault(kind="throttled", text="later"))
    quotes = BookQuotes(read_book(BOOK, name="b"), ["x"], market)
    assert (await quotes.of(["a"]))["a"].spot_usd == 1.0
    assert (await BookQuotes(read_book(BOOK, name="b"), ["z"]).of(["a"]))["a"].spot_usd is None


def pod(name: str, state: NodeState) -> Node:
    return Node(
        node=name, pid=1, host="h", capacity_type="spot", zone="a", model="m", engine="e",
        state=state, started_at=0.0, at=5.0,
    )  # fmt: skip


async def test_pods_are_told_to_keda_only_while_we_lead() -> None:
    board = Board()
    pods = Pods(board, "m")
    sight = await pods.look([pod("p", "loading")])
    assert not isinstance(sight, Fault)
    assert [one.phase for one in sight.members] == ["starting"]
    sight = await pods.look([pod("p", "ready")])
    assert not isinstance(sight, Fault)
    assert sight.happened == (BecameReady(zone="a", at=5.0, capacity_type="spot"),)
    decision = Decision(
        at=0.0, spot=3, fallback=1, realtime=2, batch_fallback=True, launches=(), releases=(),
        reasons=(), at_risk=(), figures=Figures(), memory=Memory(),
    )  # fmt: skip
    assert await pods.carry_out(decision, sight, most=0, sure=lambda: False) == []
    assert isinstance(board.read("m"), str)
    await pods.carry_out(decision, sight, most=0, sure=lambda: True)
    assert not isinstance(board.read("m"), str)
    pods.forget()
    assert isinstance(board.read("m"), str)
    assert isinstance(await pods.look(None), Fault)


class Crowded:
    """Starts one process, and no second one."""

    def __init__(self) -> None:
        self.nodes: list[LocalNode] = []

    async def start(self, capacity_type: CapacityType, zone: str) -> LocalNode:
        if self.nodes:
            raise BlockingIOError("Resource temporarily unavailable")
        self.nodes.append(
            LocalNode(node="n1", pid=1, capacity_type=capacity_type, zone=zone, started_at=0.0)
        )
        return self.nodes[0]

    async def wait(self, name: str) -> int:
        raise AssertionError(name)

    def notice(self, name: str) -> None:
        raise AssertionError(name)

    def kill(self, name: str) -> None:
        raise AssertionError(name)

    def running(self) -> Sequence[LocalNode]:
        return self.nodes


async def test_a_machine_that_starts_no_further_process_is_a_fault_and_no_crash() -> None:
    local = Local(Crowded(), ["a"])
    asked = Request(id="l1", capacity_type="spot", zone="a", count=3)
    granted = await local.launch(asked)
    assert [one.id for one in granted.machines] == ["n1"]
    assert granted.shortfall is not None
    assert "temporarily unavailable" in granted.shortfall.text
    assert [one.id for one in await alive(local)] == ["n1"]


async def alive(local: Local) -> Sequence[Machine]:
    listed = await local.list()
    assert not isinstance(listed, Fault)
    return listed


def test_knobs_are_changed_by_name() -> None:
    knobs = changed(Knobs(), {"most_spot": "7", "budget_usd_per_h": "12.5", "tuning.rho": "0.5"})
    assert (knobs.most_spot, knobs.budget_usd_per_h, knobs.tuning.rho) == (7, 12.5, 0.5)
    assert changed(knobs, {"budget_usd_per_h": "None"}).budget_usd_per_h is None


@pytest.mark.parametrize(
    "change", [("tuning", "1"), ("most_spot", "many"), ("price_ceiling", "1.2"), ("x.y", "1"),
               ("tuning.tuning", "1"), ("most_spot", "none"), ("price_ceiling", "nan"),
               ("tuning.usual_s", "inf"), ("tuning.hold_s", "nan"), ("budget_usd_per_h", "inf")],
)  # fmt: skip
def test_knobs_that_there_are_not_and_values_that_make_no_sense_are_refused(
    change: tuple[str, str],
) -> None:
    with pytest.raises(UsageError, match="knob"):
        changed(Knobs(), dict([change]))


@pytest.mark.parametrize(
    ("provider", "words", "names"),
    [
        ("local", ("--prices", __file__), "--provider ec2 or kubernetes"),
        ("local", ("--listen", "127.0.0.1:0"), "--provider kubernetes"),
        ("ec2", ("--zones", "a"), "--provider local or kubernetes"),
        ("ec2", ("--engine", "vllm"), "--provider local"),
        ("kubernetes", ("--most-machines", "3"), "--provider local or ec2"),
    ],
)
def test_an_option_that_a_provider_would_ignore_is_refused(
    provider: str, words: tuple[str, str], names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["run", "--model", "m", "--provider", provider, *words]
    assert run_command(command, given, name="fleet pool") == 2
    said = capsys.readouterr().err
    assert words[0] in said
    assert names in said
