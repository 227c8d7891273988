"""When spot pays, as formulas. docs/economics.md explains them; `fleet.ledger` measures instead.

Times are hours unless their name says otherwise, prices are USD an hour, shares are from 0 to 1.
"""

import math
from typing import Annotated, Final, TypeAlias

import msgspec

NonNegative: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]
Positive: TypeAlias = Annotated[float, msgspec.Meta(gt=0)]
HOUR_S: Final = 3600.0


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A first estimate: so many spot hours, of which each interruption wastes a little."""

    spot_usd: float
    wasted_h: float
    effective_h: float
    usd_per_effective_h: float
    on_demand_usd: float
    saved_usd: float
    saved_share: float


def estimate(
    *,
    hours: float,
    interruptions: float,
    wasted_min: float,
    spot_usd_h: float,
    on_demand_usd_h: float,
) -> Estimate:
    """Compare `hours` of spot with on-demand for the work that these hours really do.

    wasted_min: minutes of every interruption that are paid and do nothing.
    """
    wasted_h = interruptions * wasted_min / 60
    effective_h = hours - wasted_h
    paid, instead = hours * spot_usd_h, effective_h * on_demand_usd_h
    return Estimate(
        spot_usd=paid,
        wasted_h=wasted_h,
        effective_h=effective_h,
        usd_per_effective_h=paid / effective_h,
        on_demand_usd=instead,
        saved_usd=instead - paid,
        saved_share=1 - paid / instead,
    )


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What a node lives with.

    reclaims_per_h: of one running node. startup_h: paid, from launch to the first useful token.
    checkpoint_h: between two checkpoints. stall_h: for which one checkpoint stops the engine.
    unnoticed: share of the reclaims without a usable notice. notice_h: unproductive part of the
    time that a notice leaves.
    """

    reclaims_per_h: Positive
    startup_h: NonNegative = 10 / 60
    checkpoint_h: Positive = 5 / HOUR_S
    stall_h: NonNegative = 0.0
    unnoticed: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1
    notice_h: NonNegative = 30 / HOUR_S

    @property
    def efficiency(self) -> float:
        """Useful share of the time that is paid for; 0 where a life is too short to do anything."""
        life_h = 1 / self.reclaims_per_h
        useful_h = (
            life_h * (1 - self.stall_h / self.checkpoint_h)
            - self.unnoticed * self.checkpoint_h / 2
            - (1 - self.unnoticed) * self.notice_h
        )
        return max(0.0, useful_h / (life_h + self.startup_h))


def usd_per_useful_hour(
    *, spot_usd_h: float, spot_efficiency: float, on_demand_usd_h: float,
    on_demand_efficiency: float = 1.0, fallback: float = 0.0,
) -> float:  # fmt: skip
    """Price an hour of useful work, of which the share `fallback` is done on on-demand."""
    spot = spot_usd_h / spot_efficiency if spot_efficiency else math.inf
    if fallback >= 1:
        return on_demand_usd_h / on_demand_efficiency
    return (1 - fallback) * spot + fallback * on_demand_usd_h / on_demand_efficiency


def saved_share(
    usd_h: float, *, on_demand_usd_h: float, on_demand_efficiency: float = 1.0
) -> float:
    """Tell how much less than on-demand a useful hour costs; below 0 when it costs more."""
    return 1 - usd_h * on_demand_efficiency / on_demand_usd_h


def best_checkpoint_h(*, stall_h: float, reclaims_per_h: float, unnoticed: float = 1.0) -> float:
    """Find the interval at which stalls and lost work together cost least (Young's formula).

    unnoticed: share of the reclaims without a usable notice; only they lose work. Infinite where
    nothing is ever lost.
    """
    risk = reclaims_per_h * unnoticed
    return math.sqrt(2 * stall_h / risk) if risk else math.inf


def break_even_reclaims_per_h(
    *, spot_usd_h: float, on_demand_usd_h: float, startup_h: float
) -> float:
    """Find the rate of reclaims above which spot costs more, start-up being all that they cost."""
    return (on_demand_usd_h / spot_usd_h - 1) / startup_h
