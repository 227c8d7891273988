"""The view of queues: tier, model and tenant. Pure."""

from dashboard import units
from dashboard.look import Look
from dashboard.queue_rows import ALL, QueueRow
from dashboard.table import Cell, Column, Table
from dashboard.views.cells import above_zero, number, word


def table(look: Look) -> Table[QueueRow]:
    """Make the table of queues."""
    return Table(
        name="queue",
        columns=(
            word("tier", 10, lambda row: row.tier, look),
            word("model", 8, lambda row: row.model, look, priority=1, grows=1),
            Column(title="tenant", width=8, grows=1, cell=lambda row: _tenant(row, look),
                   sort=lambda row: row.tenant),
            number("waiting", 7, lambda row: row.waiting, units.count),
            number("flight", 6, lambda row: row.in_flight, units.count, priority=2),
            number("redel", 5, lambda row: row.redelivered, units.count, priority=6,
                   tone=above_zero(lambda row: row.redelivered, "warn")),
            Column(title="stuck", width=5, right=True, cell=lambda row: _stuck(row, look),
                   sort=lambda row: row.stuck, falls=True),
            number("dead", 4, lambda row: row.dead, units.count, priority=3,
                   tone=above_zero(lambda row: row.dead, "bad")),
            number("oldest", 6, lambda row: row.oldest_s, units.age, priority=4),
            number("done in", 7, lambda row: row.drain_s, units.age, priority=5),
            number("jobs/s", 10, lambda row: row.jobs_per_s, units.rate, priority=7, rate=True),
            Column(title="state", width=16, priority=8, cell=lambda row: _state(row, look),
                   sort=lambda row: _state(row, look).text),
            number("stored", 7, lambda row: row.jobs, units.count, priority=9),
        ),
        key=lambda row: row.key,
        words=lambda row: f"{row.tier} {row.model} {row.tenant} {_state(row, look).text}",
        empty="No queue exists. `fleet init --model NAME` makes those of a model.",
    )  # fmt: skip


def _tenant(row: QueueRow, look: Look) -> Cell:
    if row.tenant == ALL:
        return Cell("all", "strong")
    return Cell(look.text(row.tenant))


def _stuck(row: QueueRow, look: Look) -> Cell:
    if row.stuck is None:
        return Cell(units.DASH, "dim")
    if row.stuck == 0:
        return Cell("0", "dim")
    return Cell(f"{look.glyph('stuck')} {units.count(row.stuck)}", "bad")


def _state(row: QueueRow, look: Look) -> Cell:
    if not row.exists:
        return Cell(f"{look.glyph('lost')} no durable", "bad")
    if row.paused_s > 0:
        return Cell(f"{look.glyph('paused')} paused {units.age(row.paused_s)}", "warn")
    return Cell("open", "dim")
