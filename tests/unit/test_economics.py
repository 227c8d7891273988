"""The formulas of docs/economics.md, against the figures that stand there."""

import math
import random
import runpy
from pathlib import Path
from typing import Final

import pytest

from fleet.cost import report
from fleet.economics import (
    Conditions,
    best_checkpoint_h,
    break_even_reclaims_per_h,
    estimate,
    saved_share,
    usd_per_useful_hour,
)
from fleet.ledger import ledger
from fleet.lives import lives
from tests.books import ON_DEMAND, SPOT, on_demand, priced, seed_fleet

PICTURES: Final = Path(__file__).parents[2] / "docs" / "pictures"


def saved(reclaims_per_h: float, fallback: float = 0.0) -> float:
    conditions = Conditions(
        reclaims_per_h=reclaims_per_h, checkpoint_h=30 / 3600, stall_h=0.05 / 3600
    )
    paid = usd_per_useful_hour(
        spot_usd_h=SPOT,
        spot_efficiency=conditions.efficiency,
        on_demand_usd_h=ON_DEMAND,
        fallback=fallback,
    )
    return saved_share(paid, on_demand_usd_h=ON_DEMAND)


def test_the_first_estimate_is_that_of_the_example() -> None:
    made = estimate(
        hours=1000, interruptions=1000 * 0.05, wasted_min=10, spot_usd_h=SPOT,
        on_demand_usd_h=ON_DEMAND,
    )  # fmt: skip
    assert f"{made.spot_usd:,.0f}" == "1,800"
    assert f"{made.effective_h:.2f}" == "991.67"
    assert f"{made.usd_per_effective_h:.4f}" == "1.8151"
    assert f"{made.on_demand_usd:,.2f}" == "4,462.50"
    assert f"{made.saved_usd:,.2f}" == "2,662.50"
    assert f"{made.saved_share:.2%}" == "59.66%"


def test_the_ledger_of_such_a_fleet_says_the_same() -> None:
    made = report(ledger(lives(seed_fleet()), priced), on_demand)
    assert f"{made.bill_usd:,.0f}" == "1,800"
    assert f"{made.parts['useful'].hours:.2f}" == "991.67"
    assert f"{made.bill_usd / made.parts['useful'].hours:.4f}" == "1.8151"
    assert f"{made.on_demand_usd:,.2f}" == "4,462.50"
    assert f"{made.saved_usd:,.2f}" == "2,662.50"
    assert f"{made.saved_share:.2%}" == "59.66%"
    assert len(made.interruptions) == 50
    assert made.usd_per_million == pytest.approx(36.0)


@pytest.mark.parametrize(
    ("reclaims_per_h", "efficiency", "shares"),
    [
        (0.01, 0.997, ["59.9", "56.9", "53.9", "47.9", "35.9"]),
        (0.05, 0.990, ["59.6", "56.6", "53.6", "47.7", "35.7"]),
        (0.2, 0.965, ["58.5", "55.6", "52.7", "46.8", "35.1"]),
        (1.0, 0.849, ["52.9", "50.2", "47.6", "42.3", "31.7"]),
        (1.4, 0.800, ["50.0", "47.5", "45.0", "40.0", "30.0"]),
    ],
)
def test_the_table_of_savings(reclaims_per_h: float, efficiency: float, shares: list[str]) -> None:
    conditions = Conditions(
        reclaims_per_h=reclaims_per_h, checkpoint_h=30 / 3600, stall_h=0.05 / 3600
    )
    assert round(conditions.efficiency, 3) == efficiency
    fallbacks = (0.0, 0.05, 0.10, 0.20, 0.40)
    assert [f"{100 * saved(reclaims_per_h, f):.1f}" for f in fallbacks] == shares


@pytest.mark.parametrize(
    ("stall_s", "intervals_s"),
    [(0.05, [85, 42, 19]), (1, [379, 190, 85]), (10, [1200, 600, 268])],
)
def test_the_table_of_checkpoint_intervals(stall_s: float, intervals_s: list[int]) -> None:
    best = [
        best_checkpoint_h(stall_h=stall_s / 3600, reclaims_per_h=rate) for rate in (0.05, 0.2, 1)
    ]
    assert [round(h * 3600) for h in best] == intervals_s


def test_a_checkpoint_interval_does_not_matter_where_nothing_is_lost() -> None:
    assert best_checkpoint_h(stall_h=1, reclaims_per_h=1, unnoticed=0) == math.inf


def test_spot_breaks_even_at_nine_reclaims_an_hour() -> None:
    rate = break_even_reclaims_per_h(spot_usd_h=0.4, on_demand_usd_h=1, startup_h=10 / 60)
    assert rate == pytest.approx(9)
    assert saved(100.0) < 0


def test_all_on_demand_costs_what_on_demand_costs() -> None:
    paid = usd_per_useful_hour(
        spot_usd_h=SPOT, spot_efficiency=0.0, on_demand_usd_h=ON_DEMAND, fallback=1.0
    )
    assert saved_share(paid, on_demand_usd_h=ON_DEMAND) == 0


def test_the_formula_agrees_with_lives_that_are_played(seeded: random.Random) -> None:
    c = Conditions(reclaims_per_h=1.0, checkpoint_h=30 / 3600, stall_h=0.05 / 3600, unnoticed=0.5)
    useful_h = paid_h = 0.0
    for _ in range(20_000):
        life_h = seeded.expovariate(c.reclaims_per_h)
        waste_h = (
            seeded.uniform(0, min(life_h, c.checkpoint_h))
            if seeded.random() < c.unnoticed
            else min(life_h, c.notice_h)
        )
        useful_h += (life_h - waste_h) * (1 - c.stall_h / c.checkpoint_h)
        paid_h += life_h + c.startup_h
    assert useful_h / paid_h == pytest.approx(c.efficiency, abs=0.01)


def test_a_faster_start_is_worth_what_the_documentation_says() -> None:
    def saved_at(rate: float, startup_min: float) -> float:
        conditions = Conditions(
            reclaims_per_h=rate, startup_h=startup_min / 60, checkpoint_h=30 / 3600,
            stall_h=0.05 / 3600,
        )  # fmt: skip
        paid = usd_per_useful_hour(
            spot_usd_h=SPOT, spot_efficiency=conditions.efficiency, on_demand_usd_h=ON_DEMAND
        )
        return saved_share(paid, on_demand_usd_h=ON_DEMAND)

    gains = [f"{100 * (saved_at(rate, 3) - saved_at(rate, 10)):.1f}" for rate in (0.05, 1)]
    assert gains == ["0.2", "4.7"]


def test_the_picture_is_what_its_script_draws() -> None:
    script = runpy.run_path(str(PICTURES / "saving.py"))
    drawn = (PICTURES / "saving.svg").read_text(encoding="utf-8")
    assert drawn == script["drawing"](), "run `python docs/pictures/saving.py`"
    assert script["saved"](0.05, 0.1) == pytest.approx(saved(0.05, 0.1))
