"""The picture for a terminal: costs as bars, and how many nodes there were as lines of blocks."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from fleet.pool.simulate.compare import Run

BLOCKS: Final = " ▁▂▃▄▅▆▇█"
BAR: Final = "█"
LINE: Final = 60


def sketch(runs: Mapping[str, Run], bound: float | None) -> str:
    """Draw bars of all costs, and the first run's nodes over time."""
    bars = {name: run.outcome.cost_ratio or 0.0 for name, run in runs.items()}
    if bound is not None:
        bars["bound"] = bound
    lines = [*_bars(bars), ""]
    first = next(iter(runs))
    points = runs[first].points
    rows = {
        "spot there": [float(point.available) for point in points],
        "spot held": [float(point.spot) for point in points],
        "on-demand": [float(point.on_demand) for point in points],
        "work waits": [point.waiting_h for point in points],
    }
    lines.append(f"{first}, over {points[-1].at / 86_400:.1f} days; each line up to its own most:")
    for name, values in rows.items():
        unit = "node-hours" if name == "work waits" else "nodes"
        lines.append(f"  {name:<12}{_blocks(values)}  most {max(values):.0f} {unit}")
    return "\n".join(lines)


def _bars(bars: Mapping[str, float]) -> Iterator[str]:
    most = max(1.0, *bars.values())
    width = max(map(len, bars))
    for name, value in bars.items():
        yield f"  {name:<{width}}  {value:6.3f}  {BAR * round(value / most * LINE)}"


def _blocks(values: Sequence[float]) -> str:
    """Squeeze a series into a line: each block is the mean of its part."""
    most = max(values) or 1.0
    cells = min(LINE, len(values))
    line = ""
    for cell in range(cells):
        part = values[cell * len(values) // cells : (cell + 1) * len(values) // cells]
        mean = sum(part) / len(part)
        # What is there at all is to be seen.
        line += BLOCKS[max(1 if mean else 0, round(mean / most * (len(BLOCKS) - 1)))]
    return line
