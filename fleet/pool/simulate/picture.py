"""The picture as a file: the one door to matplotlib."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fleet.errors import UsageError
from fleet.pool.simulate.compare import Run

INK = {"available": "#c9d6df", "spot": "#2a7f62", "on_demand": "#d1495b", "waiting": "#30638e"}


def draw(runs: Mapping[str, Run], bound: float | None, *, title: str, path: Path) -> None:
    """Write a picture: costs of all policies, and nodes and backlog of the first over time.

    The ending of `path` says the format: .png, .svg or .pdf. Raises UsageError where that cannot
    be written.
    """
    figure = Figure(figsize=(10, 8), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    costs, nodes, backlog = figure.subplots(3, 1, height_ratios=(2, 3, 2))
    _costs(costs, runs, bound)
    _over_time(nodes, backlog, runs)
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: the picture cannot be written: {error}") from error


def _costs(axes: Axes, runs: Mapping[str, Run], bound: float | None) -> None:
    names = list(runs)[::-1]
    ratios = [runs[name].outcome.cost_ratio or 0.0 for name in names]
    missed = [runs[name].outcome.misses for name in names]
    ink = [INK["on_demand"] if late else INK["spot"] for late in missed]
    bars = axes.barh(names, ratios, color=ink)
    labels = [
        f"{ratio:.3f}" + (f", {late} missed" if late else "")
        for ratio, late in zip(ratios, missed, strict=True)
    ]
    axes.bar_label(bars, labels, padding=4)
    axes.axvline(1.0, color="black", linewidth=0.8)
    if bound is not None:
        axes.axvline(bound, color="black", linestyle=":", label=f"hindsight bound {bound:.3f}")
        axes.legend(loc="upper right")
    axes.set_xlim(0, max(1.2, *ratios) * 1.15)
    axes.set_xlabel("cost, by the same work on on-demand nodes (red: deadlines missed)")


def _over_time(nodes: Axes, backlog: Axes, runs: Mapping[str, Run]) -> None:
    first = next(iter(runs))
    points = runs[first].points
    days = [point.at / 86_400 for point in points]
    nodes.fill_between(
        days, [point.available for point in points], step="post", color=INK["available"],
        label="spot to be had",
    )  # fmt: skip
    for name, label in (("spot", "spot held"), ("on_demand", "on-demand held")):
        series = [getattr(point, name) for point in points]
        nodes.step(days, series, where="post", color=INK[name], label=label)
    nodes.set_ylabel(f"nodes of {first}")
    # Room for the legend above the highest.
    nodes.set_ylim(0, 1.2 * max(1, *(max(p.available, p.spot, p.on_demand) for p in points)))
    nodes.legend(loc="upper right", ncols=3)
    backlog.fill_between(days, [point.waiting_h for point in points], color=INK["waiting"])
    backlog.set_ylabel("node-hours waiting")
    backlog.set_xlabel("days")
