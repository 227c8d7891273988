"""The view of nodes. Pure."""

from typing import Final

from msgspec.structs import replace

from dashboard import units
from dashboard.cost_rows import costly
from dashboard.look import Look
from dashboard.model import NodeRow, fleet_rows
from dashboard.snapshot import FleetSnapshot
from dashboard.table import Cell, Column, Table, Tone
from dashboard.views.cells import number, word

_TONES: Final[dict[str, Tone]] = {
    "ready": "ok", "loading": "plain", "draining": "warn", "drained": "dim", "lost": "bad",
}  # fmt: skip


def rows(snapshot: FleetSnapshot, window_s: float) -> list[NodeRow]:
    """Make the rows, and mark those that cost far more for a token than most do."""
    made = fleet_rows(snapshot, window_s)
    names = {row.node for row in costly(made)}
    if not names:
        return made
    return [replace(row, is_costly=True) if row.node in names else row for row in made]


def table(look: Look) -> Table[NodeRow]:
    """Make the table of nodes."""
    return Table(
        name="fleet",
        columns=(
            word("node", 14, lambda row: row.node, look, grows=3),
            Column(title="state", width=12, cell=lambda row: _state(row, look),
                   sort=lambda row: row.state),
            Column(title="type", width=9, priority=2, cell=_type,
                   sort=lambda row: row.capacity_type),
            Column(title="leaves", width=6, right=True, priority=1, cell=_leaves,
                   sort=lambda row: row.leaves_in_s),
            Column(title="flight", width=6, right=True, priority=4, falls=True,
                   cell=lambda row: Cell(f"{row.items}/{row.slots}"),
                   sort=lambda row: row.items),
            number("tok/s", 9, lambda row: row.tokens_per_s, units.rate, priority=3, rate=True),
            number("beat", 5, lambda row: row.beat_age_s, units.beat, priority=7, tone=_beat),
            number("$/h", 6, lambda row: row.price_usd_per_hour, units.usd, priority=2),
            Column(title="$/Mtok", width=10, right=True, priority=5, falls=True, rate=True,
                   cell=lambda row: _per_token(row, look), sort=lambda row: row.usd_per_million),
            number("KV", 4, lambda row: row.kv_cache, units.percent, priority=6),
            word("zone", 11, lambda row: row.zone, look, priority=8),
            word("model", 10, lambda row: row.model, look, priority=9, grows=1),
            word("GPU", 12, lambda row: row.instance_type, look, priority=10),
            number("jobs", 4, lambda row: row.jobs, units.count, priority=11),
            number("up", 6, lambda row: row.up_s, units.age, priority=13),
            word("engine", 11, lambda row: row.engine, look, priority=14),
            word("notice", 10, lambda row: row.notice or row.how, look, priority=15, grows=1),
        ),
        key=lambda row: row.node,
        words=lambda row: (
            f"{row.node} {row.state} {row.capacity_type} {row.zone} {row.model} "
            f"{row.instance_type} {row.engine} {row.notice} {row.how}"
        ),
        empty="No node is alive. `fleet consumer` starts one; `fleet up` a whole fleet here.",
        dim=lambda row: row.is_stale,
    )  # fmt: skip


def _state(row: NodeRow, look: Look) -> Cell:
    if row.is_stale:
        word = "lost" if row.state == "lost" else "silent"
        return Cell(f"{look.glyph('lost')} {word} {units.age(row.beat_age_s)}", "bad")
    return Cell(f"{look.glyph(row.state)} {row.state}", _TONES[row.state])


def _type(row: NodeRow) -> Cell:
    return Cell(row.capacity_type, "spot" if row.capacity_type == "spot" else "on-demand")


def _leaves(row: NodeRow) -> Cell:
    if row.leaves_in_s is None:
        return Cell("told" if row.notice else "", "warn")
    return Cell(units.countdown(row.leaves_in_s), "bad")


def _per_token(row: NodeRow, look: Look) -> Cell:
    if row.usd_per_million is None:
        return Cell(units.DASH, "dim")
    text = units.usd(row.usd_per_million)
    return Cell(f"{look.glyph('alarm')}{text}", "bad") if row.is_costly else Cell(text)


def _beat(row: NodeRow) -> Tone:
    return "bad" if row.is_stale else "dim"
