"""What one run comes to: cost against on-demand, misses, waits, and where the money went."""

from collections.abc import Sequence

import msgspec

from fleet.errors import FleetError
from fleet.pool.simulate.market import HOUR_S
from fleet.pool.simulate.nodes import Bill
from fleet.pool.simulate.world import World


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """Hours, of the median batch and of the one that 95 % of the batches do not exceed."""

    p50_h: float
    p95_h: float


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of the bill; they sum to 1. See `Bill`."""

    useful: float
    startup: float
    lost: float
    idle: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One policy on one market.

    cost_ratio: the bill, by what the work that was done would cost on on-demand nodes that start in
    no time and never idle; None where none was done. misses: batches that were not done by their
    deadline; what was left of them expired. expired_share: of all work. begin, done: from
    submission to the first job that is worked on, and to the last one's end. on_demand_share: of
    the work that was done.
    """

    cost_ratio: float | None
    misses: int
    batches: int
    expired_share: float
    usd: float
    work_h: float
    on_demand_share: float
    reclaims: int
    starts: int
    begin: Waits
    done: Waits
    split: Split


def outcome(world: World) -> Outcome:
    """Sum a run up. Raises FleetError if the parts of the bill do not sum to it."""
    bills = [_checked(bill) for bill in world.bills.values()]
    usd = sum(bill.usd for bill in bills)
    batches = world.queue.all
    work_h = sum(world.useful_s.values()) / HOUR_S
    asked_s = sum(batch.arrival.work_s for batch in batches)
    at_list = work_h * world.market.on_demand_usd
    ended = [batch for batch in batches if batch.ended_at is not None and not batch.missed]
    begun = [batch for batch in batches if batch.begun_at is not None]
    return Outcome(
        cost_ratio=_short(usd / at_list) if at_list else None,
        misses=sum(batch.missed for batch in batches),
        batches=len(batches),
        expired_share=_short(world.queue.expired_s / asked_s) if asked_s else 0.0,
        usd=_short(usd),
        work_h=_short(work_h),
        on_demand_share=_short(world.useful_s["on-demand"] / HOUR_S / work_h) if work_h else 0.0,
        reclaims=sum(pool.reclaimed for pool in world.spot),
        starts=world.starts,
        begin=_waits([(batch.begun_at or 0.0) - batch.arrival.at for batch in begun]),
        done=_waits([(batch.ended_at or 0.0) - batch.arrival.at for batch in ended]),
        split=_split(bills, usd),
    )


def _checked(bill: Bill) -> Bill:
    parts = bill.startup + bill.useful + bill.lost + bill.idle
    if abs(parts - bill.usd) > 1e-6 * max(1.0, bill.usd):
        raise FleetError(
            f"simulation: the parts sum to {parts:.4f} USD, the bill is {bill.usd:.4f}"
        )
    return bill


def _split(bills: Sequence[Bill], usd: float) -> Split:
    def share(part: str) -> float:
        return _short(sum(getattr(bill, part) for bill in bills) / usd) if usd else 0.0

    return Split(
        useful=share("useful"), startup=share("startup"), lost=share("lost"), idle=share("idle")
    )


def _waits(seconds: list[float]) -> Waits:
    if not seconds:
        return Waits(p50_h=0.0, p95_h=0.0)
    seconds.sort()

    def at(percent: int) -> float:
        return _short(seconds[min(len(seconds) - 1, len(seconds) * percent // 100)] / HOUR_S)

    return Waits(p50_h=at(50), p95_h=at(95))


def _short(value: float) -> float:
    """Round to what is worth printing, and what no change of the machine moves."""
    return float(f"{value:.6g}")
