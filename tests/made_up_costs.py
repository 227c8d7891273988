"""Ledgers that were never a fleet's."""

import random
from collections.abc import Callable

from dashboard.snapshot import CostFact, Spend
from fleet.cost import Fallback, PartSum, Report, Row
from fleet.ledger import PARTS, Part


def _report(dice: random.Random, hours: float, say: Callable[[str], str]) -> Report:
    usd = hours * 0.5
    shares: dict[Part, float] = dict.fromkeys(PARTS, 0.02) | {"useful": 0.7, "idle": 0.2}
    parts = {part: PartSum(hours * s, usd * s, s) for part, s in shares.items()}
    tokens = int(hours * 2_000_000 * dice.uniform(0.9, 1.1))
    rows = tuple(
        _row(f"{kind} {say('smollm2')}", hours / 2, usd / 2) for kind in ("spot", "on-demand")
    )
    return Report(
        nodes=12,
        node_hours=hours,
        bill_usd=usd,
        unpriced_hours=0.0,
        unmetered=(),
        parts=parts,
        items=int(hours * 900),
        failed_items=3,
        prompt_tokens=tokens * 3,
        output_tokens=tokens,
        usd_per_million=usd / tokens * 1e6,
        on_demand_usd=usd * 2.4,
        saved_usd=usd * 1.4,
        saved_share=1 - 1 / 2.4,
        fallback=Fallback(0.08, hours * 0.05, usd * 0.1),
        interruptions=(),
        interruptions_usd=usd * 0.01,
        by="pool",
        rows=rows,
    )


def _row(name: str, hours: float, usd: float) -> Row:
    tokens = int(hours * 1_000_000)
    return Row(
        name=name,
        hours=hours,
        usd=usd,
        direct_usd=usd * 0.7,
        items=int(hours * 450),
        output_tokens=tokens,
        usd_per_million=usd / tokens * 1e6 if tokens else None,
        on_demand_usd=usd * 2.4,
        saved_usd=usd * 1.4,
    )


def made_up_costs(dice: random.Random, at: float, say: Callable[[str], str]) -> CostFact:
    """Make up what a fleet cost; 60 moments of spending."""
    return CostFact(
        today=_report(dice, 96.0, say),
        hour=_report(dice, 12.0, say),
        spend=tuple(
            Spend(at - 60.0 * (60 - n), 4.0 + dice.uniform(0, 2), 10 + n // 20) for n in range(60)
        ),
        tenants=tuple(
            _row(say(name), 20.0, 10.0 - n) for n, name in enumerate(("acme", "globex", "initech"))
        ),
        batches=tuple(_row(say(f"acme/nightly-{n}"), 10.0, 5.0 - n) for n in range(3)),
    )
