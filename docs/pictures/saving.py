"""Draw docs/pictures/saving.svg: what is saved, by the rate of reclaims and the share of fallback.

`python docs/pictures/saving.py` writes it; a test holds the file to what this draws.
"""

import math
from pathlib import Path
from typing import Final

from fleet.economics import Conditions, saved_share, usd_per_useful_hour

SPOT_USD_H, ON_DEMAND_USD_H = 1.80, 4.50
FALLBACKS: Final = {0.0: "#0b7a75", 0.1: "#d1495b", 0.2: "#7a5195", 0.4: "#6c757d"}
RATES: Final = (0.01, 10.0)
LEFT, TOP, WIDTH, HEIGHT = 60, 20, 520, 260
STEPS: Final = 60
FILE: Final = Path(__file__).with_suffix(".svg")
_TEXT: Final = '<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{fill}">{text}</text>'


def drawing() -> str:
    """Return the picture."""
    parts = [*_grid(), *(line for fallback in FALLBACKS for line in _curve(fallback))]
    size = f'width="{LEFT + WIDTH + 120}" height="{TOP + HEIGHT + 50}"'
    style = 'font-family="sans-serif" font-size="12"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>',
            '<rect width="100%" height="100%" fill="white"/>',
            *parts,
            "</svg>\n",
        ]
    )


def saved(reclaims_per_h: float, fallback: float) -> float:
    """Return the share that is saved, at the conditions of docs/economics.md."""
    conditions = Conditions(
        reclaims_per_h=reclaims_per_h, checkpoint_h=30 / 3600, stall_h=0.05 / 3600
    )
    paid = usd_per_useful_hour(
        spot_usd_h=SPOT_USD_H,
        spot_efficiency=conditions.efficiency,
        on_demand_usd_h=ON_DEMAND_USD_H,
        fallback=fallback,
    )
    return saved_share(paid, on_demand_usd_h=ON_DEMAND_USD_H)


def _x(rate: float) -> float:
    low, high = (math.log10(rate) for rate in RATES)
    return LEFT + WIDTH * (math.log10(rate) - low) / (high - low)


def _y(share: float) -> float:
    return TOP + HEIGHT * (1 - max(0.0, share) / 0.6)


def _grid() -> list[str]:
    lines = []
    for percent in (0, 20, 40, 60):
        y = _y(percent / 100)
        lines.append(f'<path d="M{LEFT} {y:.1f}h{WIDTH}" stroke="#ddd"/>')
        lines.append(_label(LEFT - 8, y + 4, f"{percent} %", anchor="end"))
    for rate, name in ((0.01, "1 in 100 h"), (0.1, "1 in 10 h"), (1.0, "1 an hour"), (10.0, "10")):
        lines.append(_label(_x(rate), TOP + HEIGHT + 18, name))
    lines.append(_label(LEFT + WIDTH / 2, TOP + HEIGHT + 40, "reclaims of one running node"))
    return lines


def _curve(fallback: float) -> list[str]:
    rates = [RATES[0] * (RATES[1] / RATES[0]) ** (n / STEPS) for n in range(STEPS + 1)]
    points = [(_x(rate), _y(saved(rate, fallback))) for rate in rates]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    colour = FALLBACKS[fallback]
    x, y = points[0]
    name = f"{fallback:.0%} on on-demand"
    return [
        f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
        _label(x + 6, y + 15, name, anchor="start", fill=colour),
    ]


def _label(x: float, y: float, text: str, *, anchor: str = "middle", fill: str = "#333") -> str:
    return _TEXT.format(x=x, y=y, anchor=anchor, fill=fill, text=text)


if __name__ == "__main__":
    FILE.write_text(drawing(), encoding="utf-8")
